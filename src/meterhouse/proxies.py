"""Proxies in front of the server: whose word about a request is believed, and what it is.

A proxy tells in `X-Forwarded-Proto` and `X-Forwarded-Host` how a client has reached it, and in
`X-Forwarded-For` who that was. Anybody can write such headers, so they count only where the
connection comes from an address that is trusted. Of several values the last one counts: the nearest
proxy has written it. Of clients, each proxy that is trusted vouches for the one before it.

`Proxies.client` is the one place that says what a request's client address is.

Whether there is a proxy at all can only be guessed: nobody is suspected of one who comes from this
machine itself, asks for it by a name of its own, and as no proxy would.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NamedTuple

from meterhouse import limits

_NOBODY = "none"
_SOCKET = "unix"
_LOCALHOST = "localhost"
_FORWARDED = (b"forwarded", b"via", b"x-forwarded-", b"x-real-ip")
_FORMER = "1.0"  # which nginx speaks to servers unless it is told otherwise, and no client does
_HOST = re.compile(r"[\w.\-]+(:\d+)?|\[[\da-fA-F:.]+\](:\d+)?", re.ASCII)
_PORT = re.compile(r"\[(.+)\](?::\d+)?|([\d.]+):\d+", re.ASCII)
_HOME = 64  # bits of an address of version 6 that one customer of a provider has, at the least


class Front(NamedTuple):
    """How a client reaches the server: `http` or `https`, and a host, maybe with a port."""

    scheme: str
    host: str


@dataclass(frozen=True, slots=True)
class Proxies:
    """Addresses that are trusted; `socket` tells whether whoever uses the Unix socket is, too."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    socket: bool

    @classmethod
    def read(cls, text: str) -> "Proxies":
        """Read a list such as `10.0.0.0/8,::1,unix`; raises `ValueError` with what is wrong."""
        items = [item for item in map(str.strip, text.split(",")) if item not in ("", _NOBODY)]
        networks = tuple(map(_network, (item for item in items if item != _SOCKET)))
        return cls(networks, _SOCKET in items)

    @property
    def elsewhere(self) -> bool:
        """Whether a proxy on another machine is trusted."""
        return not all(network.is_loopback for network in self.networks)

    def trust(self, peer: str) -> bool:
        """Return whether a connection comes from a proxy; `peer` is empty on the Unix socket."""
        if not peer:
            return self.socket
        address = _address(peer)
        return address is not None and any(address in network for network in self.networks)

    def client(self, forwarded: str, peer: str) -> str:
        """Return the address that a request comes from; empty where only the Unix socket is known.

        `forwarded` is the header `X-Forwarded-For`, all of its lines. What is no address ends the
        search: who is known to have sent it stands for whoever is behind.
        """
        if not forwarded:
            return peer
        for entry in reversed(forwarded.rsplit(",", limits.PROXIES_MAX)[-limits.PROXIES_MAX :]):
            before = _forwarded(entry.strip())
            if before is None or not self.trust(peer):
                break
            peer = before
        return peer

    def front(self, headers: Mapping[bytes, bytes], peer: str) -> Front:
        """Return how the client has reached us; the names in `headers` are in small letters."""
        told = headers if self.trust(peer) else {}
        scheme = "https" if _last(told, b"x-forwarded-proto") == "https" else "http"
        named = (_last(told, b"x-forwarded-host"), _last(headers, b"host"), "127.0.0.1")
        return Front(scheme, next(host for host in named if _HOST.fullmatch(host)))


def comes_straight(headers: Mapping[bytes, bytes], peer: str, version: str) -> bool:
    """Return whether a request comes from this machine, as far as one can tell through no proxy.

    `peer` is empty on the Unix socket, `version` that of HTTP.
    """
    near = not peer or _is_loopback(peer)
    if not near or version == _FORMER or any(name.startswith(_FORWARDED) for name in headers):
        return False
    host = _last(headers, b"host")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return _is_loopback(name.strip("[]"))


def home_of(client: str) -> str:
    """Return what stands for whoever has an address: with version 6 they have a whole /64."""
    address = _address(client)
    if not isinstance(address, IPv6Address):
        return str(address or client)
    return str(IPv6Network((int(address), _HOME), strict=False))


def _forwarded(entry: str) -> str | None:
    """Return the address of an entry of `X-Forwarded-For`, to which some proxies add the port."""
    port = _PORT.fullmatch(entry)
    address = _address((port[1] or port[2]) if port else entry)
    # A zone, which belongs to no address of others, may have any length.
    return None if address is None or "%" in entry else str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A server that listens on :: sees IPv4 so.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_loopback(name: str) -> bool:
    if name == _LOCALHOST or name.endswith("." + _LOCALHOST):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _network(item: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(item, strict=False)
    except ValueError:
        raise ValueError(item) from None


def _last(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1").rpartition(",")[2].strip()
