"""`meterhouse move`: both stores, with all that is in them, to other ones.

What a reader may rely on:

- Neither pair of stores has a server meanwhile: this command is the owner of both ledgers.
- The source stays as it is.
- The target's usage store belongs to nobody before everything is there and has been verified, so no
  server opens half of it. Killed at any point, the command goes on when it is given again: what has
  come of the usage store is kept, and the ledger comes in one transaction.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, NamedTuple

import typer

from meterhouse.cli import books, verify
from meterhouse.cli.options import ClickhouseUrl, DatabaseUrl, DataDir
from meterhouse.cli.output import FAILED, following, remark
from meterhouse.clock import SystemClock
from meterhouse.config import Config, shown
from meterhouse.engine.pair import open_pair
from meterhouse.engine.service import EngineService
from meterhouse.errors import ConfigError, StoreError
from meterhouse.identifiers.index import Identifiers
from meterhouse.ledger import audit, identity, partitions
from meterhouse.ledger import move as ledger_move
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.owner import Owner
from meterhouse.limits import MOVE_PENDING_SECONDS_MAX
from meterhouse.processing.partitions import process_pending
from meterhouse.stores import Stores
from meterhouse.usage import identity as usage_identity
from meterhouse.usage import move as usage_move
from meterhouse.usage.store import UsageStore

app = typer.Typer(add_completion=False)

_TO = "METERHOUSE_TO_"  # what the variables of the target begin with


class Pair(NamedTuple):
    """A ledger and its usage store, both open."""

    ledger: Ledger
    usage: UsageStore

    def __str__(self) -> str:
        return f"{self.ledger.place} and {self.usage.place}"

    @property
    def identity(self) -> identity.Identity:
        """What the ledger is known by."""
        with self.ledger.read() as connection:
            return identity.read(connection)


def _to(setting: str, what: str) -> Any:
    return typer.Option(
        f"--to-{setting.replace('_', '-')}",
        help=f"{what} of the target. Variable: {_TO}{setting.upper()}.",
        metavar=setting.rpartition("_")[2].upper(),
        show_default=False,
    )


@app.command()
def move(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    clickhouse_url: ClickhouseUrl = None,
    to_data_dir: Annotated[str | None, _to("data_dir", "Folder of both stores")] = None,
    to_database_url: Annotated[str | None, _to("database_url", "URL of the ledger")] = None,
    to_clickhouse_url: Annotated[
        str | None, _to("clickhouse_url", "URL of the usage store")
    ] = None,
) -> None:
    """Move both stores to other ones, such as from a folder to PostgreSQL and ClickHouse, or back.

    Stop the server first. The source stays as it is; the target is new, and is verified at the end.
    If it is interrupted, give the command again: it goes on.
    """
    source = _read(data_dir, database_url, clickhouse_url, dict(os.environ))
    target = _read(
        to_data_dir,
        to_database_url,
        to_clickhouse_url,
        {
            name.replace(_TO, "METERHOUSE_"): text
            for name, text in os.environ.items()
            if name.startswith(_TO)
        },
    )
    _check_places(source, target)
    with _opened_source(source) as here, _opened_target(target) as there:
        _check_target(here, there)
        if usage_identity.filled_for(there.usage) is None:
            usage_identity.begin_filling(there.usage, here.identity.identity)
        _copy(here, there)
        state = _verify(there, source)
        verify.report(state)
        if state.status != "balanced" and state.problems != _verify(here, source).problems:
            raise StoreError(f"{there} are not what {here} are. Give the command again.")
        usage_identity.take_over(there.usage, here.identity.identity)
        typer.echo(f"Moved {here} to {there}.")
    _tell_next(target)
    if state.status != "balanced":
        remark("What is wrong with the target's books is wrong with the source's, too.")
        raise typer.Exit(FAILED)


def _read(
    data_dir: str | None,
    database_url: str | None,
    clickhouse_url: str | None,
    environment: dict[str, str],
) -> Config:
    options = {"data_dir": data_dir, "database_url": database_url, "clickhouse_url": clickhouse_url}
    return Config.read(options, environment)


def _check_places(source: Config, target: Config) -> None:
    """Raise `ConfigError` unless both stores go from one place to another."""
    for what, url, to_url in (
        ("ledger", source.database_url, target.database_url),
        ("usage store", source.clickhouse_url, target.clickhouse_url),
    ):
        if url == to_url:
            raise ConfigError(
                f"The {what} would stay where it is, but both stores move together. Say where to "
                "with --to-data-dir, or with --to-database-url and --to-clickhouse-url."
            )
    if all(one.clickhouse_url.startswith("chdb:") for one in (source, target)):
        raise ConfigError(
            "Both usage stores are folders, of which a process opens one. Move the whole data "
            "folder, or use `meterhouse backup` and `meterhouse restore`."
        )


@contextmanager
def _opened_source(config: Config) -> Iterator[Pair]:
    owner = Owner.here(config.data_dir, SystemClock().now())
    with books.opened(config, owner=owner) as ledger, ExitStack() as opened:
        usage = open_pair(ledger, config.clickhouse_url, "refuse")
        opened.callback(usage.close)
        here = Pair(ledger, usage)
        if _unfinished(here):
            remark("Processing what has been acknowledged, before it is moved.")
            asyncio.run(_finish(here, config.deduplication_days))
        if _unfinished(here):
            raise StoreError(
                f"The ledger at {ledger.place} still has events that are not in the usage store. "
                "Give the command again, or start the server: its log tells what is in the way."
            )
        yield here


def _unfinished(pair: Pair) -> bool:
    with pair.ledger.read() as connection:
        return ledger_move.unfinished(connection)


async def _finish(pair: Pair, deduplication_days: int) -> None:
    """Let the journal be empty, and every block be stored."""
    engine = EngineService(*pair, deduplication_days)
    stores = Stores(pair.ledger, engine.usage)
    try:
        identifiers = Identifiers(deduplication_days, await stores.read(partitions.count))
        await process_pending(stores, engine, identifiers, MOVE_PENDING_SECONDS_MAX)
    finally:
        stores.close()


@contextmanager
def _opened_target(config: Config) -> Iterator[Pair]:
    owner = Owner.here(config.data_dir, SystemClock().now())
    with open_ledger(config.database_url, owner) as ledger, ExitStack() as opened:
        with ledger.write() as connection:
            partitions.provision(connection, config.partitions)
        usage = UsageStore.open(config.clickhouse_url)
        opened.callback(usage.close)
        yield Pair(ledger, usage)


def _check_target(here: Pair, there: Pair) -> None:
    """Raise `StoreError` unless the target is new, or what a former attempt has left."""
    ours, theirs = here.identity, there.identity
    filled_for = usage_identity.filled_for(there.usage)
    with there.ledger.read() as connection:
        new = ledger_move.is_new(connection)
    if usage_identity.read(there.usage) == theirs.identity == ours.identity:
        raise StoreError(
            f"{here} have been moved to {there} already. Look at them: meterhouse verify."
        )
    if filled_for is None:
        empty = (
            new and not usage_identity.read(there.usage) and not usage_move.holds_any(there.usage)
        )
    else:
        empty = filled_for == ours.identity and (new or theirs.identity == ours.identity)
    if not empty:
        raise StoreError(
            f"{there} hold something already, which is not from {here}. Choose a new database for "
            "each store."
        )


def _copy(here: Pair, there: Pair) -> None:
    with following() as told:
        usage_move.copy(
            here.usage, there.usage, lambda *done: told("Copying the usage store", *done)
        )
        with here.ledger.read() as source, there.ledger.write() as target:
            ledger_move.copy(source, target, lambda *done: told("Copying the ledger", *done))
            audit.note(target, books.operator(), "stores.moved", None, None)


def _verify(pair: Pair, config: Config) -> verify.State:
    async def run() -> verify.State:
        async with verify.asking(*pair, config.deduplication_days) as ask:
            return await verify.follow(ask)

    return asyncio.run(run())


def _tell_next(target: Config) -> None:
    plain = Config.read({"data_dir": target.data_dir}, {})
    remark("Next: start the servers there, with the other settings as they were:")
    if (target.database_url, target.clickhouse_url) == (plain.database_url, plain.clickhouse_url):
        remark(f"  meterhouse serve --data-dir {shown(target.data_dir)}")
    else:
        remark("  METERHOUSE_DATABASE_URL=… METERHOUSE_CLICKHOUSE_URL=… meterhouse serve")
    remark(
        "What a server took on the former stores from now on would be missing there. Delete them "
        "once you are content."
    )
