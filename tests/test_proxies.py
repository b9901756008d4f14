import pytest

from meterhouse.proxies import Front, Proxies

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
