"""Answers that are sent piece by piece: what the API sends on, and what is live."""

from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from meterhouse.dashboard.client import Api, Asker, Pairs, Space
from meterhouse.gone import Disconnected, break_off, until_gone

_KEPT = {b"content-length", b"content-type", b"meterhouse-refreshed-at"}


class SignedOut(Exception):  # noqa: N818 - not an error: somebody signed out
    """The session of whoever asks has ended before they had their answer."""


class Download(Response):
    """A file as the API answers it, however large, under a name.

    `bounded` makes a `receive` that is over when the session of whoever asks is.
    """

    def __init__(
        self,
        api: Api,
        by: Asker,
        space: Space,
        path: str,
        params: Pairs,
        accept: str,
        name: str,
        bounded: Callable[[Receive], Receive],
    ) -> None:
        super().__init__()
        self._by = by
        self._ask = (space, path, params, accept)
        self._api = api
        self._name = name
        self._bounded = bounded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask, and send on, until the browser goes away, or whoever asks is signed out."""
        begun = False

        async def send_on(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                named = f'attachment; filename="{self._name}"'.encode()
                kept = [pair for pair in message["headers"] if pair[0] in _KEPT]
                headers = [*kept, (b"content-disposition", named)]
                message = {**message, "headers": headers}
            await send(message)

        space, path, params, accept = self._ask
        forward = self._api.forward(self._by, scope["method"], space, path, params, accept, send_on)
        try:
            await until_gone(self._bounded(receive), forward)
        except Disconnected:
            pass  # nobody reads on
        except SignedOut:
            if begun:
                await break_off(scope, receive)
                return
            sorry = PlainTextResponse("Sign in first.", HTTPStatus.UNAUTHORIZED)
            await sorry(scope, receive, send)


def event_stream(request: Request, pieces: AsyncIterator[str]) -> Response:
    """Answer with server-sent events; HEAD hears of none, and its answer ends.

    A proxy is asked to pass each on as it comes: nginx would wait until it has some kilobytes.
    """
    sent = iter(()) if request.method == "HEAD" else pieces
    unbuffered = {"x-accel-buffering": "no"}
    return StreamingResponse(sent, headers=unbuffered, media_type="text/event-stream")
