"""Where deliveries may go: no request of ours reaches a private network by accident.

A name is resolved once, and the connection goes to the very addresses that were looked at, so a
name that changes its meaning in between leads nowhere else. What is public is a list of our own, so
it is the same with every version of Python.
"""

import asyncio
import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

Address = IPv4Address | IPv6Address

_PORT_MAX = 65_535
_HOST = re.compile(rb"[0-9A-Za-z._:-]+")  # a name or an address, as it is looked up

# What is not public of IPv4: all that IANA has given a special purpose
# (https://www.iana.org/assignments/iana-ipv4-special-registry), multicast, and where else
# clouds answer their own machines.
_SPECIAL_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's platform
            "169.254.0.0/16",  # most clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, what is reserved, and the broadcast
        ),
    )
)

# IPv6 is public where addresses are given out, but for what has a special purpose there
# (https://www.iana.org/assignments/iana-ipv6-special-registry). 6to4 leads to any IPv4 address.
_PUBLIC_6 = IPv6Network("2000::/3")
_SPECIAL_6 = tuple(
    map(
        IPv6Network,
        ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)


class ForbiddenError(Exception):
    """Nothing may be delivered to this URL or address; the text tells why."""


def check_url(url: str, *, livemode: bool, private: bool) -> httpx.URL:
    """Return the parts of a URL that can be delivered to.

    Raises `ForbiddenError`, a sentence, when it cannot. Plain `http` is for test mode, and for
    whoever has opened `private` addresses.
    """
    try:
        parsed = httpx.URL(url)
        parsed.raw_host.decode("ascii").encode("idna")  # as the look-up of the name does
    except (httpx.InvalidURL, UnicodeError):
        raise ForbiddenError("It cannot be read.") from None
    if parsed.scheme not in ("http", "https"):
        raise ForbiddenError("An explicit scheme (such as https) must be provided.")
    if not parsed.raw_host:
        raise ForbiddenError("It names no host.")
    if not _HOST.fullmatch(parsed.raw_host):
        raise ForbiddenError("What it names is no name of a host.")
    if parsed.port is not None and not 0 < parsed.port <= _PORT_MAX:
        raise ForbiddenError("It names a port that there is not.")
    if livemode and parsed.scheme != "https" and not private:
        raise ForbiddenError("It must begin with https:// in live mode.")
    return parsed


async def resolve(host: str, port: int, *, private: bool) -> list[str]:
    """Return the addresses of `host`, those of IPv4 first: not every machine can reach the others.

    Raises `ForbiddenError` when one of them is not public, unless `private` ones are open;
    `OSError` when there are none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = {ip_address(str(sockaddr[0]).partition("%")[0]): None for *_, sockaddr in found}
    for address in addresses:
        if not private and not is_public(address):
            raise ForbiddenError(f"The address {address} is not public.")
    return [str(address) for address in sorted(addresses, key=lambda one: one.version)]


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_4)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    return address in _PUBLIC_6 and not any(address in network for network in _SPECIAL_6)
