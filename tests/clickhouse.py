"""A test double of a ClickHouse server: the embedded engine behind ClickHouse's HTTP interface.

`python -m tests.clickhouse FOLDER` serves the engine's folder on a free port of this machine and
prints its URL, until its standard input ends; with the paths of a certificate and its key it does
so over TLS. It understands what clickhouse-connect sends
(https://clickhouse.com/docs/interfaces/http): statements in the body, settings and `param_x` in the
URL or in a form, inserts with their data behind the statement, compressed bodies.

It stands for the protocol, the statements and faults. It is no cluster: nothing is replicated or
distributed, nobody has rights, an answer is whole in memory, and a client that goes away ends no
statement. `POST /fault?kind=…&times=N` makes the next N inserts fail:

- `drop`: it is done, and the connection closed without an answer;
- `refuse`: the connection is closed before it is done;
- `503`: it is refused;
- `slow`: it is done after a second.

With `down` it is the next N requests of any kind whose connections are closed.
"""

import gzip
import json
import os
import re
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

import chdb
import httpx
import lz4.frame  # type: ignore[import-untyped]
import pytest

from meterhouse.usage.store import UsageStore
from tests.nginx import Certificate

# What a URL says beside the settings of the statement.
_OF_THE_REQUEST = {
    *("query", "database", "default_format", "query_id", "user", "password", "compress"),
    *("client_protocol_version", "enable_http_compression", "wait_end_of_query", "http_headers"),
    *("send_progress_in_http_headers", "cancel_http_readonly_queries_on_client_close"),
}
# What only one statement has must not make a connection of its own.
_OF_ONE_STATEMENT = ("insert_deduplication_token", "insert_deduplicate")
_INSERT = re.compile(
    rb"\s*INSERT\s+INTO\s+(?P<into>.+?)\s+(?:SETTINGS\s+(?P<settings>.+?)\s+)?FORMAT\s+(?P<form>\w+)\s*\n",
    re.IGNORECASE | re.DOTALL,
)
_INSERT_HEAD_BYTES = 65_536
SLOW_SECONDS = 1
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE = re.compile(r"Code:\s*(\d+)\.")
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
}


class Double(NamedTuple):
    """A running double: the URL of its first database, for `--clickhouse-url`."""

    url: str
    process: subprocess.Popen[str]

    def empty(self) -> str:
        """Make a database without tables and return its URL."""
        name = f"test_{secrets.token_hex(4)}"
        self._post("/", f"CREATE DATABASE {name}")
        return self.url.removesuffix("default") + name

    def fail(self, kind: str, times: int = 1) -> None:
        """Let the next inserts fail."""
        self._post(f"/fault?{urlencode({'kind': kind, 'times': times})}")

    def _post(self, path: str, body: str = "") -> None:
        base = self.url.replace("clickhouse://default:@", "http://").removesuffix("/default")
        httpx.post(base + path, content=body).raise_for_status()


@contextmanager
def clickhouse(folder: Path, certificate: Certificate | None = None) -> Iterator[Double]:
    """Run a double as a process of its own, which ends with the block."""
    files = (certificate.certificate, certificate.key) if certificate else ()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.clickhouse", str(folder), *map(str, files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Double(process.stdout.readline().strip(), process)
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
        process.stdout.close()


_connect: Callable[[str], Any] = chdb.connect


class Runs(Protocol):
    """What runs the statements of a double."""

    def run(
        self, statement: str, form: str, database: str, settings: dict[str, str], values: Any = None
    ) -> Any:
        """Run a statement; raises `RefusedError`."""


class Engine:
    """Connections to one folder, kept for others with the same database and settings."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._idle: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(list)
        self._first = _connect(folder)  # as long as it is open, the engine is

    def run(
        self, statement: str, form: str, database: str, settings: dict[str, str], values: Any = None
    ) -> Any:
        key = (database, *sorted(settings.items()))
        try:
            connection = self._idle[key].pop()
        except IndexError:
            connection = self._connect(database, settings)
        result = connection.query(statement, form, params=values)
        # After a failure the connection has output that is left: it is not used again.
        if result.has_error():
            connection.close()
            raise RefusedError(str(result.error_message()))
        self._idle[key].append(connection)
        return result

    def _connect(self, database: str, settings: dict[str, str]) -> Any:
        connection = _connect(self._folder)
        if database:
            connection.query(f"USE `{database}`", "TabSeparated")
        if settings:
            connection.query(f"SET {_clause(settings)}", "TabSeparated")
        return connection


class RefusedError(Exception):
    """The engine refused a statement."""


@contextmanager
def usage_store(
    request: pytest.FixtureRequest, folder: Path, *, server: bool
) -> Iterator[UsageStore]:
    """Open a usage store in a folder, or on the double that the tests of a process share."""
    if server:
        double: Double = request.getfixturevalue("clickhouse_server")
        url = double.url
    else:
        url = f"chdb://{folder}"
    opened = UsageStore.open(url)
    yield opened
    opened.close()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, engine: Runs, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), Handler)
        self.engine = engine
        self._faults: list[str] = []
        self._down = 0
        self._lock = threading.Lock()

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that was killed."""

    @property
    def url(self) -> str:
        return f"clickhouse://default:@127.0.0.1:{self.server_port}/default"

    def plan(self, kind: str, times: int) -> None:
        with self._lock:
            if kind == "down":
                self._down = times
            else:
                self._faults = [kind] * times

    def fault(self, *, insert: bool) -> str:
        with self._lock:
            if self._down:
                self._down -= 1
                return "refuse"
            return self._faults.pop() if insert and self._faults else ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # the head and the body of an answer leave together
    server: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b"".join(_chunks(self.rfile))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return _UNPACK[self.headers.get("Content-Encoding", "")](body)

    def _form(self, body: bytes) -> dict[str, str]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts: Any = BytesParser().parsebytes(head + body).get_payload()
        return {
            part.get_param("name", header="content-disposition"): part.get_payload(
                decode=True
            ).decode()
            for part in parts
        }

    def _answer(self, body: bytes) -> None:
        url = urlsplit(self.path)
        given = dict(parse_qsl(url.query, keep_blank_values=True))
        if url.path == "/fault":
            self.server.plan(given["kind"], int(given["times"]))
            return self._send(200, b"", {})
        if self.headers.get("Content-Type", "").startswith("multipart/form-data"):
            given, body = given | self._form(body), b""
        query = given.get("query", "").encode()
        statement = query + b"\n" + body if query and body else query or body
        insert = _INSERT.match(statement[:_INSERT_HEAD_BYTES])
        fault = self.server.fault(insert=insert is not None)
        if fault == "503":
            return self._send(503, b"", {})
        if fault == "refuse":
            return self._hang_up()
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        try:
            form, answer, summary = self._run(statement, given)
        except (RefusedError, RuntimeError) as error:
            text = str(error)
            found = _CODE.search(text)
            code = found[1] if found else "1002"
            return self._send(500, text.encode(), {"X-ClickHouse-Exception-Code": code})
        if fault == "drop":
            return self._hang_up()
        headers = {
            "X-ClickHouse-Query-Id": given.get("query_id", ""),
            "X-ClickHouse-Summary": json.dumps(summary),
            "X-ClickHouse-Format": form,
            "X-ClickHouse-Timezone": "UTC",
        }
        packed = "lz4" in self.headers.get("Accept-Encoding", "")
        if answer and packed and given.get("enable_http_compression") == "1":
            answer = lz4.frame.compress(answer)
            headers["Content-Encoding"] = "lz4"
        return self._send(200, answer, headers)

    def _run(self, statement: bytes, given: dict[str, str]) -> tuple[str, bytes, dict[str, str]]:
        database = given.get("database", "")
        settings = {
            key: value
            for key, value in given.items()
            if key not in _OF_THE_REQUEST and not key.startswith("param_")
        }
        own = {key: settings.pop(key) for key in _OF_ONE_STATEMENT if key in settings}
        found = _INSERT.match(statement[:_INSERT_HEAD_BYTES])
        if found and (data := statement[found.end() :]):
            return self._insert(found, data, own, database, settings)
        text = statement.decode()
        trailing = _FORMAT.search(text)
        form = trailing[1] if trailing else given.get("default_format", "TabSeparated")
        values = {key[6:]: value for key, value in given.items() if key.startswith("param_")}
        result = self.server.engine.run(text, form, database, settings, values or None)
        return form, result.bytes() or b"", _summary(result, "read")

    def _insert(
        self,
        found: re.Match[bytes],
        data: bytes,
        own: dict[str, str],
        database: str,
        settings: dict[str, str],
    ) -> tuple[str, bytes, dict[str, str]]:
        clauses = [_clause(own), (found["settings"] or b"").decode()]
        clause = ", ".join(filter(None, clauses))
        with NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            text = f"INSERT INTO {found['into'].decode()} FROM INFILE {_quoted(file.name)}"
            text += f" SETTINGS {clause}" * bool(clause) + f" FORMAT {found['form'].decode()}"
            result = self.server.engine.run(text, "TabSeparated", database, settings)
            return "TabSeparated", b"", _summary(result, "written")

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _chunks(source: Any) -> Iterator[bytes]:
    while size := int(source.readline().split(b";")[0], 16):
        yield source.read(size)
        source.readline()
    source.readline()


def _summary(result: Any, kind: str) -> dict[str, str]:
    names = ("read_rows", "read_bytes", "written_rows", "written_bytes", "result_rows")
    counted = {f"{kind}_rows": result.rows_read(), f"{kind}_bytes": result.bytes_read()}
    return {name: str(counted.get(name, 0)) for name in names}


def _clause(settings: dict[str, str]) -> str:
    return ", ".join(f"{key} = {_quoted(value)}" for key, value in settings.items())


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main(folder: str, *certificate: str) -> None:
    """Serve the engine's folder until standard input ends; with a certificate, over TLS."""
    server = Server(Engine(folder))
    url = server.url
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = url.replace("clickhouse:", "clickhouses:")
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)  # nobody needs what it has, and the engine may take minutes to write it


if __name__ == "__main__":
    main(*sys.argv[1:])
