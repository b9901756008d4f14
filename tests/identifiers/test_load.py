"""What a process knows of the identifiers that were stored before it started."""

import asyncio
import logging

import pytest

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.identifiers.index import Identifiers, day_of
from meterhouse.identifiers.load import Loader
from meterhouse.metering.identifier import identifier_digest
from meterhouse.usage.store import UsageStore
from tests.metering.samples import NOW
from tests.pipeline import DAYS, Pipeline, put_claims

TODAY = day_of(NOW)
OVER = TODAY - DAYS - 1  # the last day whose claims are over
MANY, OLD, OLDER = (
    [identifier_digest(1, f"{name} {number}") for number in range(count)]
    for name, count in (("many", 50), ("old", 3), ("older", 3))
)


@pytest.fixture
def stored(pipeline: Pipeline) -> Pipeline:
    for day, digests in ((TODAY, MANY), (OVER, OLD), (OVER - 1, OLDER)):
        put_claims(pipeline, day, *digests)
    return pipeline


def test_it_learns_what_the_usage_store_holds(
    stored: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Day by day, a large day in pieces, and of each piece a few at a time."""
    monkeypatch.setattr(limits, "FILTER_LOAD_DIGESTS", 7)
    monkeypatch.setattr(limits, "FILTER_ADD_DIGESTS", 2)
    identifiers = Identifiers(DAYS)
    loader = Loader(stored.stores, identifiers, stored.clock, stored.metrics)
    assert b"meterhouse_identifiers_known 0.0" in stored.metrics.text()
    assert asyncio.run(loader.load()) == len(MANY + OLD)
    assert b"meterhouse_identifiers_known 1.0" in stored.metrics.text()
    assert identifiers.suspects(MANY + OLD + OLDER) == MANY + OLD


def test_a_failure_is_told_and_tried_again(
    stored: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "FILTER_LOAD_RETRY_SECONDS", 0)
    claimed_on, failures = UsageStore.claimed_on, iter([True])

    def once(store: UsageStore, day: int, piece: int, pieces: int) -> bytes:
        if next(failures, False):
            raise StoreError("The usage store is away.")
        return claimed_on(store, day, piece, pieces)

    monkeypatch.setattr(UsageStore, "claimed_on", once)
    identifiers = Identifiers(DAYS)
    loader = Loader(stored.stores, identifiers, stored.clock, stored.metrics)

    async def body() -> None:
        with caplog.at_level(logging.INFO):
            loader.start()
            assert loader._task is not None
            await loader._task
        await loader.stop()

    asyncio.run(body())
    assert identifiers.suspects(OLDER) == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert caplog.records[1].message.startswith(f"loaded {len(MANY + OLD)} identifiers in ")


def test_it_adds_what_fits_into_one_part(stored: Pipeline) -> None:
    """A part takes 64 MB, so what came meanwhile gets none of its own."""
    identifiers = Identifiers(DAYS)
    identifiers.claim({TODAY: OLDER})
    asyncio.run(Loader(stored.stores, identifiers, stored.clock, stored.metrics).load())
    [part] = identifiers._filter._parts
    assert part.digests == len(MANY + OLD + OLDER)
    identifiers.stored({TODAY: OLDER})
    assert identifiers.suspects(OLDER) == OLDER
