"""The official Stripe CLI, unmodified: its commands run to their end, or listen in the background.

It reaches a server by its URL or by its Unix socket. Whatever it wants from the rest of the world,
such as its newest version, it does not get: it is told of a proxy where nobody listens. It asks
nothing of it to listen with `-s`; over the socket a proxy would stand in its way then.
"""

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.server import TEST_KEY

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / ".cache" / "clients" / "stripe-cli"
# The program for this machine itself: the script around it does not pass signals on.
BINARY = next(PACKAGE.glob("node_modules/@stripe/cli-*/bin/stripe"), None)

SECONDS_MAX = 60  # that anything may take


class Lines:
    """What a program has printed so far."""

    def __init__(self) -> None:
        self._text = ""
        self._more = threading.Condition()

    def add(self, line: str) -> None:
        with self._more:
            self._text += line
            self._more.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Return the first match of `pattern`, once there is one: its group, or all of it."""
        with self._more:
            found = self._more.wait_for(lambda: re.search(pattern, self._text), SECONDS_MAX)
            assert found, f"{pattern} is not in: {self._text}"
            return found[found.re.groups]

    def text(self) -> str:
        with self._more:
            return self._text


@dataclass(frozen=True)
class StripeCli:
    """The program, with a folder for its own files, pointed at a URL or else at a socket."""

    home: Path
    url: str | None
    socket: Path | None = None
    key: str = TEST_KEY
    device: str = "laptop"

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            self._command(arguments),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )

    def ask(self, *arguments: str) -> Any:
        """Run a command that prints an answer; return it."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout[done.stdout.index("{") :])

    @contextmanager
    def listening(self, *arguments: str) -> Iterator[Lines]:
        """Run a command that listens, from when it is ready to the end of the block."""
        lines = Lines()
        with subprocess.Popen(
            self._command(arguments),
            env=self._environment(listening=True),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            reader = threading.Thread(target=_read, args=(process, lines))
            reader.start()
            try:
                lines.wait_for("Ready!")
                yield lines
            finally:
                process.kill()
                reader.join()

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        command, *rest = arguments
        base = ["--api-base", self.url] if self.url else []
        return [str(BINARY), command, *rest, *base, "--color", "off"]

    def _environment(self, *, listening: bool = False) -> dict[str, str]:
        environment = {
            "PATH": os.environ["PATH"],
            "STRIPE_API_KEY": self.key,
            "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
            "STRIPE_DEVICE_NAME": self.device,
            "XDG_CONFIG_HOME": str(self.home),
        }
        if self.socket is not None:
            environment["STRIPE_CLI_UNIX_SOCKET"] = str(self.socket)
        if self.socket is None or not listening:
            environment["HTTPS_PROXY"] = "http://127.0.0.1:9"
        return environment


def _read(process: "subprocess.Popen[str]", lines: Lines) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.add(line)


@dataclass
class Sink:
    """A web server that a CLI forwards to: what came to which path, its body and its headers.

    It answers 200, and on the path `/broken` 500.
    """

    url: str
    got: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    def wait_for(self, path: str, type_: str, about: str = "") -> tuple[bytes, dict[str, str]]:
        """Return the first event of a type that came to a path, once there is one.

        `about` is the id of the object that it must be about, if that matters.
        """
        deadline = time.monotonic() + SECONDS_MAX
        while time.monotonic() < deadline:
            for came_to, body, headers in list(self.got):
                event = json.loads(body)
                related = event.get("related_object", {}).get("id")
                if (came_to, event["type"]) == (path, type_) and about in ("", related):
                    return body, headers
            time.sleep(0.02)
        raise AssertionError(f"no {type_} came to {path}, but {self.got}")


@contextmanager
def sinking() -> Iterator[Sink]:
    """Serve a sink until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sink.got.append((self.path, body, dict(self.headers)))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()
            self.wfile.write(b"thanks")

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name there
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sink = Sink(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()
