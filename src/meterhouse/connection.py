"""One connection: uvicorn's, with bounds on a request's head that uvicorn leaves to a proxy.

A head (request line and headers) that is too large, that does not arrive in time, or that is not
HTTP is answered in Stripe's error shape, and the connection is closed. So is a connection on which
no request begins. The body is bounded by `api.gate`.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from meterhouse.errors import Refusal
from meterhouse.limits import REQUEST_HEAD_BYTES_MAX, REQUEST_HEAD_READ_SECONDS_MAX
from meterhouse.wire.envelope import error_v1

_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class Connection(HttpToolsProtocol):
    """The protocol that uvicorn makes for each connection."""

    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first request has as much time to arrive as any head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_expecting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; bound what is an incomplete head."""
        began_before = self._in_head
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if began_before:
            self._head_bytes += len(data)
        if self._head_bytes > REQUEST_HEAD_BYTES_MAX:
            self._refuse(431, "The request's URL and headers are too large.")
        elif self._deadline is None:
            self._expect_head()

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

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a request that is complete, although its sender sends no more; then close."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._in_head or cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, and close."""
        self._refuse(400, msg)

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_HEAD_READ_SECONDS_MAX, self._too_late)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._in_head:
            self._refuse(408, "The request's headers did not arrive in time.")
        else:
            self.transport.close()

    def _answering(self) -> bool:
        """Whether the answer to a request that came in full is on its way, or begun."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        if cycle is None or cycle.response_complete:
            return False
        # A request with a broken body is not answered by the application, which waits for the rest
        # of it, unless it is in the pipeline behind others.
        return cycle.response_started or not cycle.more_body or bool(self.pipeline)

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer and close; only close while the answer to an earlier request is on its way."""
        if not self._answering():
            body = error_v1(Refusal(sentence, status=status))
            date = [b"%s: %s\r\n" % header for header in self.server_state.default_headers]
            self.transport.write(
                b"HTTP/1.1 %d %s\r\n" % (status, _REASONS[status])
                + b"".join(date)
                + b"content-type: application/json\r\nconnection: close\r\n"
                + b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
        self.transport.close()
