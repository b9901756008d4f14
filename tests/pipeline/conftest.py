"""One usage store for the tests of this room, emptied for every test, and a ledger for each."""

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from meterhouse.ledger.engine import open_ledger
from meterhouse.pipeline.workshop import Workshop
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore
from tests.blank import blank_ledger
from tests.pipeline.samples import DAYS, Pipeline


@pytest.fixture(scope="package")
def usage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UsageStore]:
    opened = UsageStore.open(f"chdb://{tmp_path_factory.mktemp('usage')}")
    yield opened
    opened.close()


@pytest.fixture
def pipeline(usage: UsageStore, tmp_path: Path) -> Iterator[Pipeline]:
    for table in ("events", "identifiers", "rejected_events", "duplicate_events", "usage_slots"):
        usage._writer.command(f"TRUNCATE TABLE {table}")
    with open_ledger(blank_ledger(tmp_path)) as ledger:
        workshop = Workshop(ledger, usage, DAYS)
        stores = Stores(ledger, workshop.usage)
        yield Pipeline(stores, workshop)
        stores.close()


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[IO[str]]:
    with (tmp_path / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
