"""`/subscribe/{account}`: the websocket on which a Stripe CLI listens.

It is let in by the id of a session, which nobody can guess, and hears what `delivery.broadcast`
offers, as long as the key is good that began the session. A connection that breaks may be made anew
with the same id; so does the CLI every `CLI_RECONNECT_SECONDS`. With an id that is not known any
more it asks for a new session.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from meterhouse.api.services import Services
from meterhouse.delivery.frames import frames
from meterhouse.delivery.listener import Listener
from meterhouse.errors import Refusal, StoreError
from meterhouse.wire import envelope, refusals
from meterhouse.wire.stripecli import SUBPROTOCOL, read_frame

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("meterhouse.subscribe")

_PATH = "/subscribe/"
_TRY_AGAIN = 1011  # https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1


async def subscribe(services: Services, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one websocket, from its handshake to its end."""
    await receive()  # the handshake itself, which says nothing more
    try:
        listener = await _listener(services, scope)
    except StoreError:
        await _refuse(send, envelope.unavailable())
        return
    if listener is None:
        await _refuse(send, refusals.unknown_websocket())
        return
    offered = SUBPROTOCOL in scope["subprotocols"]  # not every client offers it
    await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None})
    connection = listener.connect()
    telling = asyncio.create_task(_tell(services, listener, connection, send))
    try:
        await _hear(services, listener, receive)
    finally:
        listener.disconnect(connection, services.clock.now())
        telling.cancel()
        await asyncio.wait({telling})


async def _listener(services: Services, scope: Scope) -> Listener | None:
    path: str = scope["path"]
    name = dict(scope["headers"]).get(b"websocket-id", b"").decode("latin-1")
    if not path.startswith(_PATH):
        return None
    return await services.broadcast.find(name, path.removeprefix(_PATH))


async def _refuse(send: Send, refusal: Refusal) -> None:
    headers = [(b"content-type", b"application/json")]
    await send(
        {"type": "websocket.http.response.start", "status": refusal.status, "headers": headers}
    )
    await send({"type": "websocket.http.response.body", "body": envelope.error_v1(refusal)})


async def _hear(services: Services, listener: Listener, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        frame = read_frame(message.get("text") or message.get("bytes") or "")
        if frame is not None:
            services.broadcast.hear(listener, frame)


async def _tell(services: Services, listener: Listener, connection: int, send: Send) -> None:
    """Send what the CLI wants to hear, until it goes, connects anew or may not hear any more."""
    try:
        while item := await listener.next(connection):
            now = services.clock.now()
            listener.sending(item, now)
            for frame in frames(item, listener.device, livemode=listener.scope.livemode, now=now):
                await send({"type": "websocket.send", "text": frame})
        await send({"type": "websocket.close"})
    except OSError:
        pass  # it went away meanwhile
    except Exception:
        log.exception("%s could not be told", listener.id)
        await send({"type": "websocket.close", "code": _TRY_AGAIN})
