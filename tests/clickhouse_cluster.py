"""A test double of a ClickHouse cluster: one embedded engine behind several servers.

`python -m tests.clickhouse_cluster FOLDER SHARDS REPLICAS` serves each replica of each shard at an
address of its own (127.0.0.1, 127.0.0.2, …, at the same port), in a database of its own, and prints
these addresses, until its standard input ends.

It stands for where rows go and what is asked of whom. It has no Keeper, no Distributed tables and
no replication, but models of them:

- the replicas of a shard share the tokens of their inserts, and a repeated one stores nothing;
- what one of them stores the others have once they are told to `SYSTEM SYNC REPLICA`, no sooner;
- a table over all shards is a view over the first replica of each.

A statement that begins with `PLAIN` is left to the engine as it is, which has the cluster in its
configuration, but reaches none of its servers.
"""

# ruff: noqa: S608 - the statements are put together from the names of this module alone

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import httpx

from tests.clickhouse import Engine, Server

NAME = "double"
PLAIN = "/* as it is */"

_ON_CLUSTER = re.compile(r" ON CLUSTER '\w+'")
_REPLICATED = re.compile(r"Replicated(\w*MergeTree)\('[^']*', '[^']*'\)")
_TOKENS = re.compile(
    r"replicated_deduplication_window = \d+, replicated_deduplication_window_seconds = \d+"
)
_VIEW = re.compile(r"CREATE TABLE IF NOT EXISTS (`\w+`\.(\w+)) AS .* ENGINE = Distributed\(.*")
_SYNC = re.compile(r"SYSTEM SYNC REPLICA (\w+) LIGHTWEIGHT")
_TOKEN = re.compile(r"insert_deduplication_token = '([^']*)'")
_INFILE = re.compile(r"FROM INFILE '([^']*)'")
_CHANGES = ("ALTER", "DELETE", "INSERT")


class ClusterDouble(NamedTuple):
    """A running double of a cluster: the URL that names its servers, and the addresses of each."""

    url: str
    hosts: list[str]
    process: subprocess.Popen[str]

    def first(self, hosts: int) -> str:
        """Return the URL that names the first servers alone."""
        head, _, tail = self.url.partition("@")
        return f"{head}@{','.join(self.hosts[:hosts])}/{tail.partition('/')[2]}"

    def fail(self, host: int, kind: str, times: int = 1) -> None:
        """Let a server fail, as `tests.clickhouse` tells, or be down."""
        params: dict[str, str | int] = {"kind": kind, "times": times}
        httpx.post(f"http://{self.hosts[host]}/fault", params=params).raise_for_status()


@contextmanager
def clickhouse_cluster(folder: Path, shards: int, replicas: int) -> Iterator[ClusterDouble]:
    """Run a double of a cluster as a process of its own, which ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder), str(shards), str(replicas)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        hosts = process.stdout.readline().split()
        url = f"clickhouse://default:@{','.join(hosts)}/default?cluster={NAME}"
        yield ClusterDouble(url, hosts, process)
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
        process.stdout.close()


class _Cluster:
    """The engine behind all servers, and what they share."""

    def __init__(self, folder: Path, shards: int, replicas: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "cluster.xml"
        config.write_text(_config(shards, replicas))
        self.engine = Engine(f"{folder / 'data'}?config-file={config}")
        self.replicas = [
            _Replica(self, shard, shard * replicas + number)
            for shard in range(shards)
            for number in range(replicas)
        ]
        self.tokens: set[tuple[int, str, str]] = set()
        self.lock = threading.RLock()
        for one in self.replicas:
            self.engine.run(f"CREATE DATABASE IF NOT EXISTS {one.database}", "Null", "", {})

    def first_replicas(self) -> list["_Replica"]:
        return list({one.shard: one for one in reversed(self.replicas)}.values())


class _Replica:
    """The engine as one server has it: a database that is called `default` outside."""

    def __init__(self, cluster: _Cluster, shard: int, number: int) -> None:
        self.cluster = cluster
        self.shard = shard
        self.database = f"server_{number + 1}"
        self.waiting: list[tuple[str, bytes, str, Any]] = []

    def run(
        self, statement: str, form: str, database: str, settings: dict[str, str], values: Any = None
    ) -> Any:
        if statement.startswith(PLAIN):
            return self.cluster.engine.run(statement, form, database, settings, values)
        text = _TOKENS.sub("non_replicated_deduplication_window = 0", statement)
        text = _REPLICATED.sub(r"\1", text)
        if values and values.get("database") == "default":
            values = values | {"database": self.database}
        if text.strip() == "SELECT currentDatabase()":
            text = "SELECT 'default'"
        if synced := _SYNC.fullmatch(text.strip()):
            self.catch_up(synced[1])
            text = "SELECT 1"
        if _ON_CLUSTER.search(text):
            return self._everywhere(_ON_CLUSTER.sub("", text), form, settings)
        if text.lstrip().startswith(_CHANGES):
            return self._change(text, form, settings, values)
        inside = self.database if database in ("", "default") else database
        return self.cluster.engine.run(text, form, inside, settings, values)

    def catch_up(self, table: str) -> None:
        """Store what other replicas have stored of a table."""
        with self.cluster.lock:
            for change in [one for one in self.waiting if re.search(rf"\b{table}\b", one[0])]:
                self.waiting.remove(change)
                self._apply(*change)

    def _change(self, text: str, form: str, settings: dict[str, str], values: Any) -> Any:
        with self.cluster.lock:
            if token := _TOKEN.search(text):
                key = (self.shard, text.split()[2], token[1])
                if key in self.cluster.tokens:
                    return self.cluster.engine.run("SELECT 1", form, self.database, {})
                self.cluster.tokens.add(key)
            file = _INFILE.search(text)
            data = Path(file[1]).read_bytes() if file else b""
            result = self._apply(text, data, form, values, settings)
            for other in self.cluster.replicas:
                if other.shard == self.shard and other is not self:
                    other.waiting.append((text, data, form, values))
            return result

    def _apply(self, text: str, data: bytes, form: str, values: Any, settings: Any = None) -> Any:
        with NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            text = _INFILE.sub(f"FROM INFILE '{file.name}'", text)
            return self.cluster.engine.run(text, form, self.database, settings or {}, values)

    def _everywhere(self, text: str, form: str, settings: dict[str, str]) -> Any:
        if view := _VIEW.fullmatch(text.strip()):
            first = self.cluster.first_replicas()
            shards = " UNION ALL ".join(f"SELECT * FROM {one.database}.{view[2]}" for one in first)
            text = f"CREATE VIEW IF NOT EXISTS {view[1]} AS {shards}"
        for one in self.cluster.replicas:
            result = self.cluster.engine.run(text, form, one.database, settings)
        return result


def main(folder: str, shards: str, replicas: str) -> None:
    """Serve the servers of a cluster until standard input ends."""
    cluster = _Cluster(Path(folder), int(shards), int(replicas))
    port = 0
    for number, one in enumerate(cluster.replicas, 1):
        server = Server(one, f"127.0.0.{number}", port)
        port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"127.0.0.{number}:{port} ")
    sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # nobody needs what it has


def _config(shards: int, replicas: int) -> str:
    hosts = (f"127.0.0.{number + 1}" for number in range(shards * replicas))
    layout = "".join(
        "<shard>"
        + "".join(
            f"<replica><host>{next(hosts)}</host><port>1</port></replica>" for _ in range(replicas)
        )
        + "</shard>"
        for _ in range(shards)
    )
    servers = f"<remote_servers><{NAME}>{layout}</{NAME}></remote_servers>"
    macros = "<macros><shard>1</shard><replica>one</replica></macros>"
    return f"<clickhouse>{servers}{macros}</clickhouse>"


if __name__ == "__main__":
    main(*sys.argv[1:])
