"""Requests as a server hands them to the program, whatever is in them, and what comes back."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tests.api.local import LocalServer
from tests.fuzz.words import Headers

HANG_SECONDS = 20  # longer than anything takes


@dataclass(frozen=True, slots=True)
class Ask:
    """A request; `client` is the address that it comes from, None on the Unix socket."""

    method: str
    path: bytes
    query: bytes = b""
    headers: Headers = ()
    body: tuple[bytes, ...] = (b"",)
    client: str | None = "203.0.113.9"
    version: str = "1.1"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


def ask(local: LocalServer, request: Ask) -> Reply:
    """Hand a request to the program, and go away once its answer is over, or is a live one."""

    async def bounded() -> Reply:
        async with asyncio.timeout(HANG_SECONDS):
            return await _ask(local, request)

    return local.run(bounded())


async def _ask(local: LocalServer, request: Ask) -> Reply:
    pieces, told, over = list(request.body), list[dict[str, Any]](), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if pieces:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        told.append(message)
        live = told[0]["status"] == 200 and b"event-stream" in dict(told[0]["headers"])[_TYPE]
        if message["type"] == "http.response.body" and (live or not message.get("more_body")):
            over.set()

    await local.meterhouse.asgi(_scope(request), receive, send)
    headers = {name.lower(): value for name, value in told[0]["headers"]}
    return Reply(told[0]["status"], headers, b"".join(one.get("body", b"") for one in told[1:]))


_TYPE = b"content-type"


def _scope(request: Ask) -> dict[str, Any]:
    path = request.path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "server": ("127.0.0.1", 80),
        "client": None if request.client is None else (request.client, 1),
        "scheme": "http",
        "root_path": "",
        "method": request.method,
        "path": unquote(path) if "%" in path else path,
        "raw_path": request.path,
        "query_string": request.query,
        "headers": list(request.headers),
        "state": {},
    }


def check(request: Ask, reply: Reply) -> None:
    """Check that an answer is one of ours, and no failure."""
    assert 200 <= reply.status < 500, reply
    refused = reply.status >= 400 and request.method != "HEAD"
    if refused and reply.headers[_TYPE] == b"application/json":
        assert json.loads(reply.body).keys() == {"error"}
    assert b"Traceback" not in reply.body


class _Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


@contextmanager
def no_errors() -> Iterator[None]:
    """Check that no error is logged."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    try:
        yield
        assert not errors.lines, errors.lines[-1]
    finally:
        logging.getLogger().removeHandler(errors)
