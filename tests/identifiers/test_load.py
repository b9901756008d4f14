"""What a process knows of the identifiers that were stored before it started."""

import asyncio
import logging
from typing import Any

import pytest

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.identifiers.index import Identifiers, day_of
from meterhouse.identifiers.load import Loader
from meterhouse.metering.identifier import identifier_digest, partition_of
from meterhouse.usage.store import UsageStore
from tests.metering.samples import DAY, NOW
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
    assert asyncio.run(loader.load()) == len(MANY + OLD)
    assert identifiers.suspects(MANY + OLD + OLDER) == MANY + OLD


def test_a_failure_is_told_and_tried_again(
    stored: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "FILTER_LOAD_RETRY_SECONDS", 0)
    claimed_on, failures = UsageStore.claimed_on, iter([True])

    def once(store: UsageStore, *wanted: Any) -> bytes:
        if next(failures, False):
            raise StoreError("The usage store is away.")
        return claimed_on(store, *wanted)

    monkeypatch.setattr(UsageStore, "claimed_on", once)
    identifiers = Identifiers(DAYS)
    loader = Loader(stored.stores, identifiers, stored.clock, stored.metrics)

    async def body() -> None:
        with caplog.at_level(logging.INFO):
            loader.start()
            assert b"meterhouse_identifiers_known 0.0" in stored.metrics.text()
            async with asyncio.timeout(30):
                while b"meterhouse_identifiers_known 1.0" not in stored.metrics.text():  # noqa: ASYNC110 - nobody is told
                    await asyncio.sleep(0.01)
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
    [part] = identifiers._shares[0].filter._parts
    assert part.digests == len(MANY + OLD + OLDER)
    identifiers.stored({TODAY: OLDER})
    assert identifiers.suspects(OLDER) == OLDER


def test_suspicions_that_are_over_are_forgotten(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETAIN_INTERVAL_SECONDS", 0.01)
    identifiers = Identifiers(DAYS)
    loader = Loader(pipeline.stores, identifiers, pipeline.clock, pipeline.metrics)
    pipeline.clock.set(NOW + 2 * DAY)

    async def body() -> None:
        identifiers.claim({OVER: OLD})
        identifiers.stored({OVER: OLD})
        loader.start()
        async with asyncio.timeout(30):
            while identifiers.unloaded() or identifiers.suspects(OLD):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await loader.stop()

    asyncio.run(body())


def test_it_learns_of_the_partitions_that_have_come(stored: Pipeline) -> None:
    """Of those that have not, all are suspects, which is slow and right."""
    identifiers = Identifiers(DAYS, partitions=3)
    loader = Loader(stored.stores, identifiers, stored.clock, stored.metrics)
    everybody, mine = MANY + OLD + OLDER, {partition: of(partition) for partition in range(3)}
    assert identifiers.suspects(everybody) == everybody
    for partition in (1, 2):
        identifiers.begin(partition)
    assert asyncio.run(loader.load()) == len(set(MANY + OLD) & (mine[1] | mine[2]))
    assert set(identifiers.suspects(everybody)) == set(everybody) - (set(OLDER) - mine[0])


def test_a_partition_that_was_away_while_it_was_loaded_is_loaded_again(
    stored: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its other owner may have claimed something that was not stored when it was read."""
    identifiers = Identifiers(DAYS, partitions=3)
    loader = Loader(stored.stores, identifiers, stored.clock, stored.metrics)
    identifiers.begin(1)
    claim_days = UsageStore.claim_days

    def away(store: UsageStore, since: int) -> list[tuple[int, int]]:
        identifiers.forget(1)
        identifiers.begin(1)
        return claim_days(store, since)

    with monkeypatch.context() as patched:
        patched.setattr(UsageStore, "claim_days", away)
        asyncio.run(loader.load())
    assert list(identifiers.unloaded()) == [1]
    new = [digest for digest in OLDER if digest in of(1)]
    assert new
    assert identifiers.suspects(new) == new
    asyncio.run(loader.load())
    assert identifiers.suspects(new) == []


def of(partition: int) -> set[bytes]:
    """Return which of all digests are of one of three partitions."""
    return {digest for digest in MANY + OLD + OLDER if partition_of(digest, 3) == partition}
