"""Endpoints to compare with: what a request costs when nothing, or the obvious, is done with it.

`python -m benchmarks.bare <name> <door>` serves one of them on a free port, with the options that
Meterhouse gives uvicorn, and writes its URL to the file <door>.
"""

import asyncio
import gc
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import psycopg
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POSTGRESQL_CONNECTIONS = 8
DATABASE_VARIABLE = "BENCHMARK_DATABASE"
_JSON_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def asgi(_: Scope, receive: Receive, send: Send) -> None:
    """Answer `{}` from plain ASGI: the most that uvicorn does."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _JSON_HEADERS})
    await send({"type": "http.response.body", "body": b"{}"})


async def _home(_: Request) -> Response:
    return JSONResponse({})


async def _form(request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode()))
    return JSONResponse(
        {
            "object": "billing.meter_event",
            "event_name": form["event_name"],
            "identifier": form["identifier"],
            "payload": {
                "stripe_customer_id": form["payload[stripe_customer_id]"],
                "value": form["payload[value]"],
            },
        }
    )


class _Event(msgspec.Struct):
    event_name: str
    identifier: str
    payload: dict[str, str]
    timestamp: str


class _Events(msgspec.Struct):
    events: list[_Event]


_decode = msgspec.json.Decoder(_Events).decode


async def _parse(request: Request) -> Response:
    _decode(await request.body())
    return JSONResponse({})


class _PostgreSQL:
    """The obvious server: each event is one INSERT, each request one transaction."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._free: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        for _number in range(_POSTGRESQL_CONNECTIONS):
            self._free.put_nowait(await psycopg.AsyncConnection.connect(self._url))
        connection = await self._free.get()
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS events (identifier text PRIMARY KEY, event_name text,"
            " customer text, value numeric, timestamp timestamptz, payload jsonb)"
        )
        await connection.commit()
        self._free.put_nowait(connection)
        yield
        while not self._free.empty():
            await self._free.get_nowait().close()

    async def insert(self, request: Request) -> Response:
        events = _decode(await request.body()).events
        connection = await self._free.get()
        try:
            async with connection.transaction():
                for event in events:
                    await connection.execute(
                        "INSERT INTO events VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        (
                            event.identifier,
                            event.event_name,
                            event.payload["stripe_customer_id"],
                            event.payload["value"],
                            event.timestamp,
                            json.dumps(event.payload),
                        ),
                    )
        finally:
            self._free.put_nowait(connection)
        return JSONResponse({})


def _starlette(path: str, handler: Callable[[Request], Awaitable[Response]]) -> Starlette:
    return Starlette(routes=[Route("/", _home), Route(path, handler, methods=["POST"])])


def _postgresql() -> Starlette:
    store = _PostgreSQL(os.environ[DATABASE_VARIABLE])
    return Starlette(
        routes=[
            Route("/", _home),
            Route("/v2/billing/meter_event_stream", store.insert, methods=["POST"]),
        ],
        lifespan=store.lifespan,
    )


APPS: dict[str, Callable[[], App]] = {
    "asgi": lambda: asgi,
    "form": lambda: _starlette("/v1/billing/meter_events", _form),
    "parse": lambda: _starlette("/v2/billing/meter_event_stream", _parse),
    "postgresql": _postgresql,
}


def main(name: str, door: Path) -> None:
    """Serve the app until a signal."""
    config = uvicorn.Config(
        APPS[name](),
        lifespan="on" if name == "postgresql" else "off",
        http="httptools",
        ws="none",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=2_048,
        timeout_keep_alive=75,
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        door.write_text(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}))
        gc.collect()
        gc.freeze()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
