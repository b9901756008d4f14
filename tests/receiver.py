"""A receiver of webhooks on loopback, which answers as a test wants it to."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

WAIT_SECONDS_MAX = 60


class Heard(NamedTuple):
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """What to answer; with the status 0 the connection is reset instead."""

    status: int = 200
    body: bytes = b"ok"
    headers: Mapping[str, str] = {}


class Receiver:
    """What was heard so far, and how to answer; `reply` may be replaced at any time."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.heard: list[Heard] = []
        self.reply: Callable[[Heard], Reply] = lambda _: Reply()
        self.released = threading.Event()  # what `hold` waits for
        self._news = threading.Condition()

    def take(self, heard: Heard) -> Reply:
        """Note a request and say what to answer."""
        with self._news:
            self.heard.append(heard)
            self._news.notify_all()
        return self.reply(heard)

    def hold(self, _: Heard) -> Reply:
        """Be slow: answer when the test says so."""
        self.released.wait(WAIT_SECONDS_MAX)
        return Reply()

    def wait(self, count: int, path: str = "/") -> list[Heard]:
        """Wait until `count` requests for `path` were heard; return them."""
        with self._news:
            assert self._news.wait_for(lambda: len(self._of(path)) >= count, WAIT_SECONDS_MAX), (
                f"heard {len(self._of(path))} of {count}"
            )
            return self._of(path)

    def _of(self, path: str) -> list[Heard]:
        return [one for one in self.heard if one.path == path]


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Keep quiet about a client that went away: some tests kill it."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            received = self.rfile.read(length)
            if len(received) < length:  # its sender was killed in the midst of it
                self.close_connection = True
                return
            heard = Heard(self.path, dict(self.headers), received)
            status, body, headers = receiver.take(heard)
            if status == 0:
                lingering = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
                self.connection.close()
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - a redirect that is followed would be heard of

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
