"""Bytes to a real server and back: good requests, broken on their way as no client would.

`edited` breaks a request, `Wire.exchange` sends it in pieces, says that nothing more comes, and
returns all that is answered. A server that does neither answer nor end the connection is found out.
"""

import gzip
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

from tests.server import Server

HANG_SECONDS = 20  # shorter than the server's patience with who is silent, longer than any answer
STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)

_FORM = b"content-type: application/x-www-form-urlencoded\r\n"
_WEBSOCKET = (
    b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: a\r\n"
)


def _request(line: bytes, headers: bytes = b"", body: bytes = b"") -> bytes:
    length = b"content-length: %d\r\n" % len(body) if body else b""
    return line + b" HTTP/1.1\r\nhost: localhost\r\n" + headers + length + b"\r\n" + body


_NOBODY = b"authorization: Bearer sk_test_nobody_has_this_key\r\n"
_STREAM = b"authorization: Bearer token_AAAA\r\nstripe-version: 2026-10-28.endive\r\n"
# Too long to be anybody's, so it is not checked.
_SIGN_IN = b"name=ada&next=/dashboard/a&password=" + b"x" * 1_100
_CHUNKS = b"8\r\nname=Ada\r\n4;a=b\r\n&a=b\r\n0\r\nx-trailer: 1\r\n\r\n"

REQUESTS: tuple[bytes, ...] = (
    _request(b"GET /healthz"),
    _request(b"GET /healthz", b"connection: close\r\n") + _request(b"GET /readyz"),
    _request(b"HEAD /v1/customers?limit=3", b"authorization: Basic c2tfdGVzdF94Og==\r\n"),
    _request(b"POST /v1/customers", _NOBODY + _FORM, b"name=Ada&metadata[a]=%C3%A9&expand[]=tax"),
    _request(b"POST /v1/customers", _NOBODY + b"transfer-encoding: chunked\r\n") + _CHUNKS,
    _request(b"POST /v1/customers", _FORM + b"expect: 100-continue\r\n", b"name=Ada"),
    _request(
        b"POST /v2/billing/meter_event_stream",
        _STREAM + b"content-encoding: gzip\r\ncontent-type: application/json\r\n",
        gzip.compress(b'{"events": [{"event_name": "calls", "payload": {"value": "1"}}]}', mtime=0),
    ),
    _request(b"OPTIONS /v1/billing/analytics/meter_usage", b"origin: https://a.example.com\r\n"),
    _request(b"GET /v1/billing/meters/mtr_x%2F", b"authorization: Bearer embed_AAAA\r\n"),
    _request(b"GET /metrics", b"x-forwarded-for: 1.1.1.1, ::1\r\naccept: text/plain\r\n"),
    _request(b"GET /dashboard/acct_x/test/live/overview", b"accept: text/event-stream\r\n"),
    _request(
        b"GET /dashboard/sign-in?next=/dashboard/%C3%A9", b"cookie: meterhouse_session=a.b\r\n"
    ),
    _request(b"POST /dashboard/sign-in", _FORM + b"origin: http://localhost\r\n", _SIGN_IN),
    _request(b"GET /embed/usage?token=embed_AAAA&theme=dark", b"accept-encoding: gzip\r\n"),
    _request(b"GET /dashboard/static/site.css", b"accept-encoding: gzip\r\nrange: bytes=0-1\r\n"),
    _request(b"GET /subscribe/acct_x", _WEBSOCKET + b"websocket-id: cliws_x\r\n"),
    _request(b"GET /healthz", b"connection: upgrade\r\nupgrade: h2c\r\n"),
)

WORDS: tuple[bytes, ...] = (
    *(b"", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"=", b"&"),
    *(b"%", b"%00", b"%ff", b"%2F", b"?", b"#", b"/", b"//", b"/..", b"*", b"[", b"]", b"\xff\xfe"),
    *(b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"-1", b"0", b"00", b"ffffffff", b"9" * 30),
    *(b"0" * 5_000, b"x" * 5_000, b"x: y\r\n" * 50, b"\xc3\xa9", b"content-length: 4\r\n"),
    *(b"transfer-encoding: chunked\r\n", b"connection: close\r\n", b"connection: keep-alive\r\n"),
    *(b"expect: 100-continue\r\n", b"content-encoding: gzip\r\n", b"host: [\r\n", b"/dashboard/"),
    *(
        b"/v2/",
        b"/embed/usage",
        b"POST ",
        b"GET ",
        b"CONNECT ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ),
)


class Edit(NamedTuple):
    """`word` is put in the place of `length` bytes, `at` so many thousandths of a request."""

    at: int
    length: int
    word: bytes


def edited(request: bytes, edits: Sequence[Edit]) -> bytes:
    """Return a request after some edits, the one after the other."""
    for edit in edits:
        start = len(request) * edit.at // 1_000
        request = request[:start] + edit.word + request[start + edit.length :]
    return request


class Wire:
    """Connections to a server, one after the other."""

    def __init__(self, server: Server) -> None:
        self._address = ("127.0.0.1", int(server.url.rpartition(":")[2]))

    def exchange(self, request: bytes, cuts: Sequence[int] = ()) -> bytes:
        """Send a request, cut at so many thousandths of it, and return all that comes back."""
        at = [0, *sorted(len(request) * cut // 1_000 for cut in cuts), len(request)]
        answer = b""
        with socket.create_connection(self._address, HANG_SECONDS) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Who is told before they have said all may not be heard to the end.
            with suppress(BrokenPipeError, ConnectionResetError):
                for start, end in pairwise(at):
                    client.sendall(request[start:end])
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while part := client.recv(65_536):
                    answer += part
        return answer


def check(answer: bytes) -> None:
    """Check that there is no failure among the answers of one connection."""
    assert all(status < b"500" for status in STATUS.findall(answer)), answer
