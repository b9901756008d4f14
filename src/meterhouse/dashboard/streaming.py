"""Answers that are sent piece by piece: what the API sends on, and what is live."""

from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from meterhouse.dashboard.client import Api, Pairs, Space
from meterhouse.gone import Disconnected, until_gone

_KEPT = {b"content-length", b"content-type", b"meterhouse-refreshed-at"}


class Download(Response):
    """A file as the API answers it, however large, under a name."""

    def __init__(
        self, api: Api, space: Space, path: str, params: Pairs, accept: str, name: str
    ) -> None:
        super().__init__()
        self._ask = (space, path, params, accept)
        self._api = api
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask, and send on, until the browser goes away."""

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = f'attachment; filename="{self._name}"'.encode()
                kept = [pair for pair in message["headers"] if pair[0] in _KEPT]
                headers = [*kept, (b"content-disposition", named)]
                message = {**message, "headers": headers}
            await send(message)

        space, path, params, accept = self._ask
        forward = self._api.forward(scope["method"], space, path, params, accept, send_on)
        with suppress(Disconnected):
            await until_gone(receive, forward)


def event_stream(request: Request, pieces: AsyncIterator[str]) -> Response:
    """Answer with server-sent events; HEAD hears of none, and its answer ends.

    A proxy is asked to pass each on as it comes: nginx would wait until it has some kilobytes.
    """
    sent = iter(()) if request.method == "HEAD" else pieces
    unbuffered = {"x-accel-buffering": "no"}
    return StreamingResponse(sent, headers=unbuffered, media_type="text/event-stream")
