import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from meterhouse import limits
from meterhouse.connection import Connection, WebSocket
from meterhouse.gone import break_off
from meterhouse.limits import REQUEST_HEAD_BYTES_MAX

REQUEST = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"
UPGRADE = (
    b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

SECONDS_MAX = 60

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


async def hello(_: Any, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hi"})


def talk(script: Talk, app: Any = hello, ws: type[WebSocket] = WebSocket) -> bytes:
    """Start a server, let `script` talk to it over one connection, stop it."""

    async def run() -> bytes:
        config = uvicorn.Config(
            app, http=Connection, ws=ws, lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config.load()
            server.lifespan = config.lifespan_class(config)
            await server.startup([listener])
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            answer = await script(reader, writer)
            writer.close()
            await writer.wait_closed()
            await server.shutdown([listener])
        return answer

    return asyncio.run(run())


def error_of(answer: bytes, status: bytes) -> dict[str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"\r\nconnection: close" in head
    assert b"\r\ncontent-length: %d" % len(body) in head
    error: dict[str, str] = json.loads(body)["error"]
    assert error["type"] == "invalid_request_error"
    return error


def test_a_request_is_answered() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for part in (REQUEST[:5], REQUEST[5:]):
            writer.write(part)
            await writer.drain()
        return await reader.readuntil(b"hi")

    assert talk(script).startswith(b"HTTP/1.1 200 OK\r\n")


def test_what_is_not_http_hears_it_in_the_shape_of_an_error() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"how are you?\r\n\r\n")
        return await reader.read()

    assert "HTTP" in error_of(talk(script), b"400 Bad Request")["message"]


@pytest.mark.parametrize("beginning", [b"GET /", b"GET / HTTP/1.1\r\nx: "])
def test_a_head_without_end_is_refused(beginning: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(beginning)
        await writer.drain()
        answer = asyncio.create_task(reader.read())
        sent = 0
        while not answer.done() and sent < 100 * REQUEST_HEAD_BYTES_MAX:
            writer.write(b"x" * 1_000)
            sent += 1_000
            await asyncio.wait({answer}, timeout=0.001)
        return await answer

    error = error_of(talk(script), b"431 Request Header Fields Too Large")
    assert "too large" in error["message"]


def test_a_head_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUEST_HEAD_READ_SECONDS_MAX", 0.3)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REQUEST)
        await reader.readuntil(b"hi")
        writer.write(REQUEST[:-2])
        return await reader.read()

    assert "in time" in error_of(talk(script), b"408 Request Timeout")["message"]


def test_a_connection_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUEST_HEAD_READ_SECONDS_MAX", 0.05)

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bytes:
        return await reader.read()

    assert talk(script) == b""


class Large:
    """Answers with more than the system takes for a client that does not read; notes its end."""

    SIZE, PIECE = 48 * 1_048_576, 262_144

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.headers = [(b"content-length", b"%d" % self.SIZE)]

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        for sent in range(self.PIECE, self.SIZE + 1, self.PIECE):
            body, more = bytes(self.PIECE), sent < self.SIZE
            await send({"type": "http.response.body", "body": body, "more_body": more})
        self.ended.set()


def test_an_answer_that_is_broken_off(caplog: pytest.LogCaptureFixture) -> None:
    """The client sees that it is, at once, and nothing is logged: it is no fault of ours."""

    async def long(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hi", "more_body": True})
        await asyncio.sleep(0)
        await break_off(scope, receive)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REQUEST)
        head = await reader.readuntil(b"hi")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), SECONDS_MAX) == b""
        return head

    assert talk(script, long).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not caplog.records


def test_an_answer_that_nobody_reads_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_PROGRESS_SECONDS_MAX", 0.05)
    app = Large()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REQUEST)
        await app.ended.wait()
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := await reader.read(app.PIECE):
                found += piece
        return found

    assert len(talk(script, app)) < app.SIZE


def test_an_answer_that_is_read_slowly_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes many times as long as one without progress may."""
    monkeypatch.setattr(limits, "ANSWER_PROGRESS_SECONDS_MAX", 0.25)
    app = Large()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        for _ in range(app.SIZE // app.PIECE):
            await reader.readexactly(app.PIECE)
            await asyncio.sleep(0.01)
        return head

    assert talk(script, app).startswith(b"HTTP/1.1 200 OK\r\n")


class Unread(WebSocket):
    """A websocket whose library does not get to read a whole request."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data[:-2])


def test_what_cannot_become_a_websocket_is_answered() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(UPGRADE)
        async with asyncio.timeout(SECONDS_MAX):
            return await reader.read()

    assert "websocket" in error_of(talk(script, ws=Unread), b"400 Bad Request")["message"]


def test_a_websocket_in_the_middle_of_an_answer_ends_the_connection() -> None:
    """And whoever answers hears that the client is gone."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def app(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REQUEST)
        async with asyncio.timeout(SECONDS_MAX):
            await begun.wait()
            writer.write(UPGRADE)
            answer = await reader.read()
            await gone.wait()
        return answer

    assert b"websocket" not in talk(script, app)


def test_a_websocket_that_nobody_reads_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_PROGRESS_SECONDS_MAX", 0.05)
    gone = asyncio.Event()

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with contextlib.suppress(OSError):
            while True:
                await send({"type": "websocket.send", "bytes": bytes(Large.PIECE)})
        gone.set()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(UPGRADE)
        async with asyncio.timeout(SECONDS_MAX):
            head = await reader.readuntil(b"\r\n\r\n")
            await gone.wait()
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(Large.PIECE):
                pass
        return head

    assert talk(script, app).startswith(b"HTTP/1.1 101 ")
