"""`meterhouse backup`: both stores as they are at one moment, in one archive.

A running server is asked for a snapshot, because a usage store in a folder belongs to one process;
where no server runs, the stores are opened here. The archive is written here, beside the server.
"""

import asyncio
import fcntl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import httpx
import msgspec
import typer

from meterhouse import __version__
from meterhouse.cli import archive, books
from meterhouse.cli.archive import Header, Member
from meterhouse.cli.options import ClickhouseUrl, DatabaseUrl, DataDir
from meterhouse.cli.output import counting, following, remark, show_bytes
from meterhouse.cli.server_file import RunningServer, find_server, read_state
from meterhouse.clock import SystemClock
from meterhouse.config import Config, shown
from meterhouse.engine.pair import open_usage
from meterhouse.errors import StoreError
from meterhouse.folder import lock_folder
from meterhouse.jobs.snapshot import Snapshots, check_covered
from meterhouse.ledger import audit
from meterhouse.ledger.owner import Owner
from meterhouse.limits import BACKUP_ANSWER_SECONDS_MAX, BACKUP_POLL_MILLISECONDS
from meterhouse.processing.left_behind import store_left_behind
from meterhouse.stores import Stores

app = typer.Typer(add_completion=False)

_PATH = "/meterhouse/v1/backup"
_LOCK_FILE = "backup.lock"


class State(msgspec.Struct):
    """How far a snapshot is, and where: what `Snapshots.state` tells."""

    status: Literal["idle", "running", "ready", "failed"]
    step: str
    done: int
    total: int
    problem: str
    ledger: str
    usage: str


Ask = Callable[[], State]


class Frozen(NamedTuple):
    """A snapshot: a copy of the ledger, and the folder of the usage store's."""

    ledger: Path
    usage: Path


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The archive to make, such as meterhouse.tar.zst.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    clickhouse_url: ClickhouseUrl = None,
) -> None:
    """Make a back-up of both stores; works beside a running server and without one.

    Every event that was acknowledged before is in it exactly once. Prints the archive's path.
    """
    options = {"data_dir": data_dir, "database_url": database_url, "clickhouse_url": clickhouse_url}
    config = Config.read(options)
    check_covered(config)
    file = file.absolute()
    if file.exists():
        raise StoreError(f"There is a file at {shown(file)} already. Choose another name.")
    if not file.parent.is_dir():
        raise StoreError(f"There is no folder {shown(file.parent)}. Make it first.")
    started, created = time.monotonic(), SystemClock().now()
    with _alone(config), _frozen(config) as frozen:
        try:
            files = _archive(file, frozen, created)
        except FileNotFoundError as error:
            raise StoreError(
                "The snapshot is gone, for the server has ended meanwhile. Try again."
            ) from error
        except OSError as error:
            raise StoreError(
                f"The archive {shown(file)} cannot be written: {error.strerror or error}."
            ) from error
    size = show_bytes(file.stat().st_size)
    remark(f"{files} files, {size} compressed, in {time.monotonic() - started:.1f} seconds.")
    typer.echo(shown(file))


def _archive(file: Path, frozen: Frozen, created: int) -> int:
    """Write the archive; return how many files are in it."""
    found = sorted(path for path in frozen.usage.rglob("*") if path.is_file())
    members = [Member("ledger.db", frozen.ledger)]
    members += [Member(f"usage/{path.relative_to(frozen.usage)}", path) for path in found]
    size = sum(member.path.stat().st_size for member in members)
    header = Header(archive.FORMAT, __version__, created, len(members), size)
    with counting("Writing the archive", size) as told:
        archive.write(file, header, members, told)
    return len(members)


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Hold back other back-ups of this folder: a server has one snapshot at a time."""
    with ExitStack() as held:
        with suppress(FileNotFoundError):  # without a folder there is nothing to back up
            lock = held.enter_context((config.data_dir / _LOCK_FILE).open("wb"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(
                    f"Another back-up of {shown(config.data_dir)} is being made. Wait until it "
                    "has ended."
                ) from error
        yield


@contextmanager
def _frozen(config: Config) -> Iterator[Frozen]:
    """Take a snapshot, and let it go at the end."""
    server = find_server(config)
    with ExitStack() as opened:
        ask = opened.enter_context(_asking_server(server)) if server is not None else None
        if ask is None:
            ask = opened.enter_context(_asking_stores(config))
        yield _follow(ask)


def _follow(ask: Ask) -> Frozen:
    """Show how far the snapshot is until it is there."""
    with following() as told:
        while True:
            state = ask()
            told(state.step, state.done, state.total)
            if state.status == "ready":
                return Frozen(Path(state.ledger), Path(state.usage))
            if state.status != "running":
                raise StoreError(state.problem or "The snapshot was given up; try again.")
            time.sleep(BACKUP_POLL_MILLISECONDS / 1000)


@contextmanager
def _asking_server(server: RunningServer) -> Iterator[Ask | None]:
    """Begin a snapshot in the server; yield None when nobody listens any more."""
    with httpx.Client(
        base_url=server.base_url,
        transport=httpx.HTTPTransport(uds=server.uds),
        headers=server.headers,
        timeout=BACKUP_ANSWER_SECONDS_MAX,
    ) as client:

        def ask() -> State:
            try:
                return _read(client.get(_PATH))
            except httpx.HTTPError as error:
                raise StoreError(
                    f"The server at {server.url} stopped answering: {error}."
                ) from error

        try:
            _read(client.post(_PATH))
        except httpx.ConnectError:
            yield None
            return
        try:
            yield ask
        finally:
            with suppress(httpx.HTTPError):  # a server that has ended has let it go
                client.delete(_PATH)


def _read(answer: httpx.Response) -> State:
    return read_state(answer, State, "take a snapshot")


@contextmanager
def _asking_stores(config: Config) -> Iterator[Ask]:
    """Open the stores here, so that no server can, and begin a snapshot."""
    owner = Owner.here(config.data_dir, SystemClock().now())
    with (
        books.opened(config, owner=owner) as ledger,
        lock_folder(config.data_dir),
        asyncio.Runner() as runner,
    ):
        with ledger.write() as connection:
            audit.note(connection, books.operator(), "backup.created", None, None)
        usage = open_usage(ledger, config.clickhouse_url)
        stores = Stores(ledger, lambda work, *args, **kwargs: work(usage, *args, **kwargs))

        @asynccontextmanager
        async def still() -> AsyncIterator[None]:
            await store_left_behind(stores)
            yield

        snapshots = Snapshots(stores, still, config)

        def ask() -> State:
            runner.run(asyncio.sleep(BACKUP_POLL_MILLISECONDS / 1000))
            return msgspec.convert(snapshots.state(), State)

        try:
            runner.run(snapshots.start())
            yield ask
        finally:
            runner.run(snapshots.drop())
            stores.close()
            usage.close()
