import pytest

from meterhouse import limits
from meterhouse.proxies import Front, Proxies, comes_straight, home_of

TLS = {b"host": b"a.test", b"x-forwarded-proto": b"https", b"x-forwarded-host": b"b.test:8443"}


@pytest.mark.parametrize(
    ("text", "peer", "trusted"),
    [
        ("127.0.0.0/8,::1,unix", "127.0.0.1", True),
        ("127.0.0.0/8,::1,unix", "::1", True),
        ("127.0.0.0/8,::1,unix", "", True),
        ("127.0.0.0/8,::1,unix", "10.0.0.1", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("10.1.2.3/8 , 2001:db8::/32", "10.9.9.9", True),
        ("10.1.2.3/8 , 2001:db8::/32", "2001:db8:1::2", True),
        ("10.1.2.3/8 , 2001:db8::/32", "fe80::1%eth0", False),
        ("0.0.0.0/0", "::1", False),
        ("none", "127.0.0.1", False),
        ("none", "", False),
        ("127.0.0.1", "testclient", False),
    ],
)
def test_who_is_trusted(text: str, peer: str, trusted: bool) -> None:
    assert Proxies.read(text).trust(peer) == trusted


@pytest.mark.parametrize(
    ("text", "elsewhere"),
    [
        ("127.0.0.0/8,::1,unix", False),
        ("none", False),
        ("127.0.0.1,10.0.0.0/8", True),
        ("2001:db8::7", True),
        ("0.0.0.0/0", True),
    ],
)
def test_whether_a_proxy_is_on_another_machine(text: str, elsewhere: bool) -> None:
    assert Proxies.read(text).elsewhere == elsewhere


@pytest.mark.parametrize(
    ("headers", "front"),
    [
        (TLS, Front("https", "b.test:8443")),
        (TLS | {b"x-forwarded-proto": b"https, http"}, Front("http", "b.test:8443")),
        (TLS | {b"x-forwarded-host": b"evil.test, c.test"}, Front("https", "c.test")),
        (TLS | {b"x-forwarded-host": b"[::1]:80"}, Front("https", "[::1]:80")),
        (TLS | {b"x-forwarded-host": b""}, Front("https", "a.test")),
        (TLS | {b"x-forwarded-host": b"b.test/evil"}, Front("https", "a.test")),
        (TLS | {b"x-forwarded-host": b"b.test\xe9"}, Front("https", "a.test")),
        ({b"host": b"a.test:1"}, Front("http", "a.test:1")),
        ({b"host": b"a b"}, Front("http", "127.0.0.1")),
        ({}, Front("http", "127.0.0.1")),
    ],
)
def test_what_a_proxy_says(headers: dict[bytes, bytes], front: Front) -> None:
    assert Proxies.read("10.0.0.1").front(headers, "10.0.0.1") == front


def test_nobody_else_is_believed() -> None:
    assert Proxies.read("10.0.0.1").front(TLS, "10.0.0.2") == Front("http", "a.test")


@pytest.mark.parametrize(
    ("peer", "headers", "version", "straight"),
    [
        ("127.0.0.1", {b"host": b"127.0.0.1:12111"}, "1.1", True),
        ("127.0.0.1", {b"host": b"localhost"}, "1.1", True),
        ("127.0.0.1", {b"host": b"api.localhost:12111"}, "1.1", True),
        ("::1", {b"host": b"[::1]:12111"}, "1.1", True),
        ("::1", {b"host": b"[::1]"}, "1.1", True),
        ("::ffff:127.0.0.1", {b"host": b"localhost:1"}, "1.1", True),
        ("", {b"host": b"localhost"}, "1.1", True),
        ("192.0.2.1", {b"host": b"localhost"}, "1.1", False),
        ("testclient", {b"host": b"localhost"}, "1.1", False),
        ("127.0.0.1", {b"host": b"meters.example.com"}, "1.1", False),
        ("127.0.0.1", {b"host": b"localhost.example.com"}, "1.1", False),
        ("127.0.0.1", {b"host": b"192.168.1.1:80"}, "1.1", False),
        ("127.0.0.1", {b"host": b""}, "1.1", False),
        ("127.0.0.1", {}, "1.1", False),
        ("127.0.0.1", {b"host": b"127.0.0.1:12111"}, "1.0", False),
        ("127.0.0.1", {b"host": b"localhost", b"x-forwarded-for": b"192.0.2.1"}, "1.1", False),
        ("127.0.0.1", {b"host": b"localhost", b"x-forwarded-proto": b"https"}, "1.1", False),
        ("127.0.0.1", {b"host": b"localhost", b"x-real-ip": b"192.0.2.1"}, "1.1", False),
        ("127.0.0.1", {b"host": b"localhost", b"forwarded": b"for=192.0.2.1"}, "1.1", False),
        ("127.0.0.1", {b"host": b"localhost", b"via": b"1.1 proxy"}, "1.1", False),
    ],
)
def test_who_comes_straight_from_this_machine(
    peer: str, headers: dict[bytes, bytes], version: str, straight: bool
) -> None:
    assert comes_straight(headers, peer, version) == straight


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:10.0.0.1", "", "::ffff:10.0.0.1"),
        ("", "192.0.2.1", "192.0.2.1"),
        ("", "", ""),
        ("192.0.2.9", "192.0.2.1", "192.0.2.9"),
        ("10.0.0.1", "192.0.2.66, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.66,192.0.2.1 , 10.0.0.2", "192.0.2.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
        ("10.0.0.1", "[2001:DB8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", "2001:db8:0::1", "2001:db8::1"),
        ("10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1, fe80::1%any", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1, , 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "192.0.2.1:", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1" + ",10.0.0.2" * (limits.PROXIES_MAX - 1), "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1" + ",10.0.0.2" * limits.PROXIES_MAX, "10.0.0.2"),
    ],
)
def test_who_the_client_is(peer: str, forwarded: str, client: str) -> None:
    assert Proxies.read("10.0.0.0/8,unix").client(forwarded, peer) == client


@pytest.mark.parametrize(
    ("client", "home"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_address_of_version_6_stands_for_its_network(client: str, home: str) -> None:
    assert home_of(client) == home
