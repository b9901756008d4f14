"""A websocket without a socket: a test is the Stripe CLI and talks to the ASGI application."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from meterhouse.wire.stripecli import SUBPROTOCOL
from tests.api.local import LocalServer

Message = MutableMapping[str, Any]


class Socket:
    """One connection, from its handshake on; use it within the event loop of `local`."""

    def __init__(self, local: LocalServer, session: dict[str, Any], *protocols: str) -> None:
        self._app = local.meterhouse.asgi
        self._scope = {
            "type": "websocket",
            "path": urlsplit(session["websocket_url"]).path,
            "query_string": b"websocket_feature=webhooks",
            "headers": [(b"websocket-id", session["websocket_id"].encode())],
            "subprotocols": list(protocols or (SUBPROTOCOL,)),
        }
        self._to_server: asyncio.Queue[Message] = asyncio.Queue()
        self._from_server: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> Message:
        """Do the handshake; return what the server says to it."""
        self._task = asyncio.create_task(
            self._app(self._scope, self._to_server.get, self._from_server.put)
        )
        await self._to_server.put({"type": "websocket.connect"})
        return await self.next()

    async def next(self) -> Message:
        """Return the next message of the server."""
        return await asyncio.wait_for(self._from_server.get(), 10)

    async def hear(self) -> dict[str, Any]:
        """Return the next frame."""
        message = await self.next()
        assert message["type"] == "websocket.send", message
        frame: dict[str, Any] = json.loads(message["text"])
        return frame

    async def tell(self, **frame: Any) -> None:
        """Send a frame."""
        await self.say({"text": json.dumps(frame)})

    async def say(self, message: Message) -> None:
        """Send anything, as `text` or as `bytes`."""
        await self._to_server.put({"type": "websocket.receive", **message})

    async def close(self) -> None:
        """Go away, and wait until the server has noticed."""
        await self._to_server.put({"type": "websocket.disconnect", "code": 1000})
        assert self._task is not None
        await asyncio.wait_for(self._task, 10)
