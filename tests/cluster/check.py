"""Is a cluster sound? `scripts/check-cluster --database-url … --clickhouse-url …`.

It starts two processes of each role on this machine, on stores that are somebody else's, has twelve
senders send as fast as they are answered, kills and pauses processes at random meanwhile, and
compares in the end what they say with what the senders were told, and has `meterhouse verify`
derive it anew. What befalls the stores meanwhile is for whoever has them to do.

Both databases must be empty: what is in them afterwards is of the check alone.
"""

# ruff: noqa: T201 - what it has found is for whoever runs it

import argparse
import asyncio
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import mkdtemp

import sqlalchemy as sa

from meterhouse.cli.output import CANNOT_RUN, FAILED, complain, following
from meterhouse.config import Config
from meterhouse.errors import ConfigError, MeterhouseError, StoreError
from meterhouse.ledger import engine
from meterhouse.usage import store
from meterhouse.usage.connect import address_of
from tests.cluster.proof import Bounds, prove
from tests.server import as_variables

FAULTS, FAULTS_MAX = 50, 10_000
SECONDS, SECONDS_MAX = 600, 86_400
REASON_CHARACTERS_MAX = 500
INTERRUPTED = 130
SETTINGS = ("database_url", "clickhouse_url", "clickhouse_cluster")

_TABLES = (
    "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('information_schema', 'pg_catalog')"
)
_USAGE_TABLES = "SELECT count() FROM system.tables WHERE database = currentDatabase()"


def main() -> None:
    """Check the cluster that is named; end with 1 if it is not proved sound, 2 if nothing began."""
    asked = _asked()
    try:
        stores = _empty_stores({name: getattr(asked, name) for name in SETTINGS})
    except MeterhouseError as error:
        complain(error)
        sys.exit(CANNOT_RUN)
    repeats = f"--seed {asked.seed} repeats it, on databases that are empty again"
    print(f"Seed {asked.seed}: {repeats}.", flush=True)
    bounds = Bounds(asked.faults, asked.seconds)
    with _told_of(Path(mkdtemp(prefix="meterhouse-check-"))) as folder:
        with following() as told:
            proof = asyncio.run(prove(folder, stores, bounds, asked.seed, told))
        print(*proof.lines(), sep="\n")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="check-cluster",
        description="Kill and pause processes of Meterhouse on your PostgreSQL and ClickHouse "
        "servers under load, and compare all that they say with what senders were told.",
        epilog="URLs and the cluster may be set as METERHOUSE_DATABASE_URL and so on, too, which "
        "no list of processes shows. Both databases must be empty, and have its rows afterwards. "
        "Ends with 0 if the cluster is sound, with 1 if that is not proved, 2 if nothing began.",
    )
    parser.add_argument("--database-url", metavar="URL", help="an empty PostgreSQL database")
    parser.add_argument("--clickhouse-url", metavar="URL", help="an empty ClickHouse database")
    parser.add_argument("--clickhouse-cluster", metavar="NAME", help="in its remote_servers")
    parser.add_argument(
        "--faults",
        type=lambda text: _whole(text, FAULTS_MAX),
        default=FAULTS,
        help=f"kills and pauses, up to {FAULTS_MAX:,} (default: {FAULTS})",
    )
    parser.add_argument(
        "--seconds",
        type=lambda text: _whole(text, SECONDS_MAX),
        default=SECONDS,
        help=f"after which no fault begins, up to {SECONDS_MAX:,} (default: {SECONDS})",
    )
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() % 1_000_000, help="decides what happens"
    )
    return parser.parse_args()


def _whole(text: str, most: int) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 to {most:,}")
    return int(text)


def _empty_stores(options: Mapping[str, str | None]) -> dict[str, str]:
    """Return the settings that name the stores; raises `MeterhouseError` where they will not do."""
    config = Config.read(options)
    urls = {"database_url": config.database_url, "clickhouse_url": config.clickhouse_url}
    if urls["database_url"].startswith("sqlite") or urls["clickhouse_url"].startswith("chdb"):
        raise ConfigError(
            "It is servers that are checked: name an empty database of PostgreSQL with "
            "--database-url, and one of ClickHouse with --clickhouse-url."
        )
    with engine._explained(urls["database_url"]):
        url = sa.make_url(urls["database_url"])
        database = engine._postgresql_engine(url, 1)
        with engine._answering(), database.connect() as connection:
            tables = connection.exec_driver_sql(_TABLES).scalar_one()
        database.dispose()
    _refuse_used(engine._place(url), tables)
    address = address_of(urls["clickhouse_url"])
    with store._opening(address), closing(address.connect(store.SESSION_SETTINGS)[0]) as client:
        usage_tables = client.query(_USAGE_TABLES).result_rows[0][0]
    _refuse_used(address.place, usage_tables)
    return as_variables(urls)


def _refuse_used(place: str, tables: int) -> None:
    if tables:
        raise StoreError(f"The database at {place} has {tables} tables. Name an empty one.")


@contextmanager
def _told_of(folder: Path) -> Iterator[Path]:
    """Tell in sentences what was not as it must be, and where the logs are; 1 for the shell."""
    try:
        yield folder
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder)
        complain("It was interrupted, so nothing is proved.")
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - whatever it is, the cluster is not proved sound
        (folder / "failure").write_text("".join(traceback.format_exception(error)))
        for reason in _reasons(error):
            complain(reason[:REASON_CHARACTERS_MAX].strip())
        complain(f"The cluster is not proved sound. Logs of all processes are in {folder}.")
        sys.exit(FAILED)
    shutil.rmtree(folder)


def _reasons(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _reasons(one)
        return
    line = traceback.extract_tb(error.__traceback__)[-1].line
    yield f"{type(error).__name__}: {str(error) or line}"


if __name__ == "__main__":
    main()
