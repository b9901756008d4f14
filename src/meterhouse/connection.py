"""One connection: uvicorn's, with bounds on a request that uvicorn leaves to a proxy.

A head (request line and headers) that is too large or not HTTP, and a head or a body that does not
arrive in time, is answered in Stripe's error shape, and the connection is closed. So is a
connection on which no request begins. The size of a body is bounded by `api.gate`.

An answer of which the client takes nothing for a while is ended, together with the connection; so
are a websocket of that kind, and an answer that the application breaks off.

A request that arrives in one piece, as nearly all do, costs no timer. A request for a websocket
hands its connection over to a `WebSocket`, which bounds a frame and asks after a silent client. One
that cannot become a websocket is answered like any other; one that comes before an earlier request
of its connection is answered ends the connection.
"""

import asyncio
import math
import socket
import sys
import termios
from collections.abc import Iterable
from contextlib import suppress
from fcntl import ioctl

from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.gone import BREAK_OFF
from meterhouse.wire import envelope
from meterhouse.wire.envelope_v2 import error_of
from meterhouse.wire.refusals import no_websocket
from meterhouse.wire.version import Api, api_of

_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class _OneWrite:
    """A transport that sends the head of an answer together with its body: one system call."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._head is None:
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()


class _Watched(asyncio.Protocol):
    """Gives a client up that takes nothing of what it is sent for a while."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _unread: asyncio.TimerHandle | None = None
    _unread_bytes = math.inf

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Let what is sent wait until the client takes what it has been sent."""
        super().pause_writing()
        self._stop_watching()
        self._unread_bytes = self._count_unread()
        self._look_later()

    def resume_writing(self) -> None:
        """Go on: the client has taken some."""
        super().resume_writing()
        self._unread_bytes = math.inf

    def watch(self) -> None:
        """Look after what waits for the client, if anything does."""
        if self._unread is None and self.transport.get_write_buffer_size():
            self._look_later()

    def _look_later(self) -> None:
        self._unread = self.loop.call_later(limits.ANSWER_PROGRESS_SECONDS_MAX, self._look)

    def _stop_watching(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _look(self) -> None:
        """Give a client up that has taken nothing since the last look."""
        self._unread = None
        if not self.transport.get_write_buffer_size():
            return
        before, self._unread_bytes = self._unread_bytes, self._count_unread()
        if self._unread_bytes < before:
            self._look_later()
        else:
            self.transport.abort()

    def _count_unread(self) -> int:
        """Count what waits here and in the system, which takes megabytes before anything does."""
        found = bytearray(4)
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        with suppress(OSError):
            if connection is not None:
                ioctl(connection.fileno(), termios.TIOCOUTQ, found)
        waiting: int = self.transport.get_write_buffer_size()
        return waiting + int.from_bytes(found, sys.byteorder)


class Connection(_Watched, HttpToolsProtocol):
    """The protocol that uvicorn makes for each connection."""

    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first request has as much time to arrive as any head."""
        super().connection_made(transport)
        self._expect(limits.REQUEST_HEAD_READ_SECONDS_MAX)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_expecting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; bound what is incomplete."""
        began_before = self._in_head
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            if began_before:
                self._head_bytes += len(data)
            if self._head_bytes > limits.REQUEST_HEAD_BYTES_MAX:
                self._refuse(envelope.head_too_large())
            elif self._deadline is None:
                self._expect(limits.REQUEST_HEAD_READ_SECONDS_MAX)
        elif self._deadline is None and self._awaits_body():
            self._expect(limits.REQUEST_BODY_READ_SECONDS_MAX)

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End a head."""
        self._in_head = False
        self._stop_expecting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a body."""
        self._stop_expecting()
        super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a request that is complete, although its sender sends no more; then close."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._in_head or cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # An answer to HEAD has no body, and `100 Continue` comes before the head.
        if cycle.scope["method"] != "HEAD" and not cycle.waiting_for_100_continue:
            cycle.transport = _OneWrite(cycle.transport)  # type: ignore[assignment]
        cycle.scope["extensions"] = {BREAK_OFF: self.transport.abort}  # type: ignore[dict-item]
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """End an answer; a part of it may still wait for the client."""
        super().on_response_complete()
        self.watch()

    def handle_websocket_upgrade(self) -> None:
        """Become a websocket, unless an answer is under way that would not hear of its end."""
        if self._answering():
            self.transport.close()
        else:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, and close."""
        self._refuse(envelope.not_http(msg))

    def _expect(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._too_late)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._in_head:
            self._refuse(envelope.head_too_slow())
        elif self._awaits_body():
            self._refuse(envelope.body_too_slow())
        else:
            self.transport.close()

    def _api(self) -> Api:
        """Return the API whose shape a refusal has: v1's as long as the path is not known."""
        return api_of(self.cycle.scope["path"]) if self._awaits_body() else "v1"

    def _awaits_body(self) -> bool:
        """Whether a request has come of which a part of the body is missing."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.more_body and not cycle.response_complete

    def _answering(self) -> bool:
        """Whether the answer to a request that came in full is on its way, or begun."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        if cycle is None or cycle.response_complete:
            return False
        # A request with a broken body is not answered by the application, which waits for the rest
        # of it, unless it is in the pipeline behind others.
        return cycle.response_started or not cycle.more_body or bool(self.pipeline)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and close; only close while the answer to an earlier request is on its way."""
        if not self._answering():
            headers = self.server_state.default_headers
            self.transport.write(_last_answer(refusal, self._api(), headers))
        self.transport.close()


class WebSocket(_Watched, WebSocketsSansIOProtocol):
    """The protocol of a connection that became a websocket."""

    def data_received(self, data: bytes) -> None:
        """Take what came; the first of it is the whole request for a websocket."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            # The library has read no request, and would wait for one for ever.
            self.transport.write(_last_answer(no_websocket(), "v1", self.default_headers))
            self.transport.close()

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application says."""
        await super().send(message)
        self.watch()
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # uvicorn takes a refusal for one that was forgotten


def _last_answer(refusal: Refusal, api: Api, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the refusal that a connection ends with; `headers` are those of every answer."""
    body = error_of(refusal, api)
    return (
        b"HTTP/1.1 %d %s\r\n" % (refusal.status, _REASONS[refusal.status])
        + b"".join(b"%s: %s\r\n" % header for header in headers)
        + b"content-type: application/json\r\nconnection: close\r\n"
        + b"content-length: %d\r\n\r\n%s" % (len(body), body)
    )
