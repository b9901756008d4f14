"""What the usage store is made of: one shard, or those of a cluster.

What a reader may rely on:

- A shard is the engine of a folder, a server, or the replicas of one part of a cluster. It has
  clients of its own: one that writes, and some for each lane that ask.
- Whoever asks all shards as one does so by way of any server of the cluster.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from meterhouse.limits import USAGE_INSERT_SECONDS_MAX
from meterhouse.usage import cluster, schema
from meterhouse.usage.connect import Address
from meterhouse.usage.readers import Connection, Readers
from meterhouse.usage.servers import Servers


class Shard:
    """The clients of one shard."""

    def __init__(self, address: Address, settings: dict[str, Any]) -> None:
        self.address = address
        self.readers = Readers(address, settings)
        # The engine counts the writes that failed as long as it is open, and none takes long.
        lasting = address.folder is not None
        limit = {} if lasting else {"max_execution_time": USAGE_INSERT_SECONDS_MAX}
        self._writer = Connection(address, settings | limit, lasting=lasting)
        self._writing = Lock()

    @contextmanager
    def writer(self) -> Iterator[Client]:
        """Wait for the client that writes, and keep it for one statement."""
        with self._writing, self._writer.opened() as client:
            yield client

    def close(self) -> None:
        """Finish what has begun and let the address go."""
        self.readers.close()
        self._writer.close()
        self.address.close()


class Piece(NamedTuple):
    """What a shard stores of a block, and under which token."""

    shard: Shard
    body: bytes
    token: str


class Shards:
    """All shards of a usage store; `questions` are clients that ask all of them as one.

    They are `replicated` where a replica may lack what another one has stored already.
    """

    def __init__(self, every: list[Shard], questions: Readers, *, replicated: bool) -> None:
        self.every = every
        self.questions = questions
        self.replicated = replicated

    @property
    def folder(self) -> Path | None:
        """The folder of the engine inside this process; None where servers have the store."""
        return self.every[0].address.folder

    def pieces(self, table: str, body: bytes, token: str) -> Iterator[Piece]:
        """Cut a block into what each shard has to store of it; always into the same pieces."""
        if len(self.every) == 1:
            yield Piece(self.every[0], body, token)
            return
        for number, piece in cluster.split(table, body, len(self.every)):
            yield Piece(self.every[number], piece, f"{token}-{number + 1}")

    def close(self) -> None:
        """Close every client."""
        self.questions.close()
        for shard in self.every:
            shard.close()


def open_shards(address: Address, settings: dict[str, Any]) -> Shards:
    """Return the shards at an address, and create the tables that are missing.

    Raises `StoreError`, or what the driver does.
    """
    if isinstance(address, Servers) and address.login.cluster:
        return _open_cluster(address, address.login.cluster, settings)
    with ExitStack() as opened:
        shard = Shard(address, settings)
        opened.callback(shard.close)
        with shard.writer() as client:
            schema.create(client)
        opened.pop_all()
    return Shards([shard], shard.readers, replicated=False)


def _open_cluster(entry: Servers, name: str, settings: dict[str, Any]) -> Shards:
    with closing(entry.connect(settings)[0]) as client:
        found = cluster.find_shards(client, name, entry.hosts)
        database = entry.login.database or str(client.command("SELECT currentDatabase()"))
        settings = settings | cluster.settings_of(found)
        # One shard goes by the names that its replicas have in the URL.
        shards = found if len(found) > 1 else [entry.hosts]
        with ExitStack() as opened:
            every = []
            for hosts in shards:
                login = entry.login._replace(database=database)
                every.append(Shard(Servers(login, hosts, cluster.catch_up), settings))
                opened.callback(every[-1].close)
            if not all(_has_tables(shard, database) for shard in every):
                schema.create_replicas(client, name)
            questions = every[0].readers
            if len(every) > 1:
                views = f"{database}_all"
                if not cluster.has_tables(client, views):
                    schema.create_views(client, name, database, views)
                login = entry.login._replace(database=views)
                asked = Servers(login, entry.hosts)
                questions = Readers(asked, settings | cluster.READ_SETTINGS)
            opened.pop_all()
    return Shards(every, questions, replicated=True)


def _has_tables(shard: Shard, database: str) -> bool:
    with shard.writer() as client:
        return cluster.has_tables(client, database)
