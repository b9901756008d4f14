import asyncio
import socket
from ipaddress import ip_address
from typing import Any

import pytest

from meterhouse.delivery.address import ForbiddenError, check_url, is_public, resolve


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),  # where clouds tell their secrets
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - nothing is bound
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("198.18.0.1", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::1", False),
        ("168.63.129.16", False),
        ("168.63.129.17", True),
        ("100.63.255.255", True),
        ("100.100.100.200", False),
        ("192.0.0.192", False),
        ("192.0.1.1", True),
        ("192.88.99.1", False),
        ("203.0.113.7", False),
        ("223.255.255.255", True),
        ("239.1.1.1", False),
        ("240.0.0.1", False),
        ("fd00:ec2::254", False),
        ("fec0::1", False),
        ("1fff::1", False),
        ("2000::1", True),
        ("2001:10::1", False),
        ("2001:200::1", True),
        ("2001:db8::1", False),
        ("2a00:1450:4001::1", True),
        ("3fff::1", False),
        ("3ffe::1", True),
        ("4000::1", False),
        ("5f00::1", False),
        ("::8.8.8.8", False),
        ("2002:a00:1::", False),
        ("2001::1", False),
    ],
)
def test_public_addresses(address: str, expected: bool) -> None:
    assert is_public(ip_address(address)) == expected


@pytest.mark.parametrize(
    ("url", "livemode", "private", "problem"),
    [
        ("https://example.com/hook", True, False, None),
        ("https://user:word@example.com:8443/hook?a=b", True, False, None),
        ("https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example/", True, False, None),
        ("http://example.com/hook", False, False, None),
        ("http://example.com/hook", True, True, None),
        ("http://example.com/hook", True, False, "must begin with https"),
        ("example.com/hook", False, True, "explicit scheme"),
        ("ftp://example.com", False, True, "explicit scheme"),
        ("https://", False, True, "no host"),
        ("https://[::1", False, True, "cannot be read"),
        ("https://example.com:port/", False, True, "cannot be read"),
        ("https://example.com:65536/", False, True, "port that there is not"),
        ("https://example.com:0/", False, True, "port that there is not"),
        ("https://a..b/", False, True, "cannot be read"),
        ("https://a b.example/", False, True, "no name of a host"),
        ("https://a%20b.example/", False, True, "no name of a host"),
        ("https://a_b.example/", False, True, None),
        ("https://[2606:4700::1111]/", False, True, None),
        ("https://a%0d.example/", False, True, "no name of a host"),
        (f"https://{'a' * 64}.com/", False, True, "cannot be read"),
        ("https://xn--/", False, True, None),
        ("", False, True, "explicit scheme"),
    ],
)
def test_urls(url: str, livemode: bool, private: bool, problem: str | None) -> None:
    if problem is None:
        assert str(check_url(url, livemode=livemode, private=private).scheme) in url
    else:
        with pytest.raises(ForbiddenError, match=problem):
            check_url(url, livemode=livemode, private=private)


def looked_up(*found: str, private: bool, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Resolve a name that leads to the addresses `found`."""

    async def body() -> list[str]:
        async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in found
            ]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        return await resolve("example.com", 443, private=private)

    return asyncio.run(body())


def test_addresses_of_ipv4_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = looked_up(
        "2606:4700::1111", "8.8.8.8", "8.8.8.8", private=False, monkeypatch=monkeypatch
    )
    assert found == ["8.8.8.8", "2606:4700::1111"]


def test_one_private_address_closes_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ("8.8.8.8", "fe80::1%eth0")
    with pytest.raises(ForbiddenError, match="fe80::1 is not public"):
        looked_up(*found, private=False, monkeypatch=monkeypatch)
    assert looked_up(*found, private=True, monkeypatch=monkeypatch) == ["8.8.8.8", "fe80::1"]
