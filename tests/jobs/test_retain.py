import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.jobs.retain import Retention
from meterhouse.ledger import audit, idempotency, leases, tables
from meterhouse.ledger import dashboard_sessions as sessions
from meterhouse.ledger.tables import activity, dashboard_sessions, idempotency_records
from meterhouse.metering.activity import WINDOW
from meterhouse.metering.window import MILLISECONDS
from meterhouse.usage.store import UsageStore
from tests.metering.samples import DAY, HOUR, NOW
from tests.nodes import Nodes, on_servers
from tests.pipeline import DAYS, Pipeline, submission

LAST = (NOW // DAY + DAYS + 1) * DAY - 1  # the last instant at which a claim made now holds
START = NOW - NOW % WINDOW


async def accept(pipeline: Pipeline, *names: str) -> None:
    for name in names:
        sent = submission(name, key=name, received_at=pipeline.clock.now())
        assert await pipeline.acceptor.accept(sent) is None
    assert await pipeline.processor.settle(30)


def left(pipeline: Pipeline) -> tuple[int, int, int]:
    """Count identifiers, idempotency records and lines of activity."""
    return pipeline.claims(), pipeline.rows(idempotency_records), pipeline.rows(activity)


@on_servers
def test_a_claim_stays_in_the_ledger_for_a_while_after_it_is_stored(nodes: Nodes) -> None:
    """Who asked the usage store in time, but before it was stored, finds it in the ledger."""
    kept = limits.RECENT_CLAIM_MINUTES * MILLISECONDS["minute"]
    sweep, clock = nodes.pipeline.retention.sweep, nodes.pipeline.clock

    async def later(milliseconds: int) -> int:
        clock.advance(milliseconds)
        return await sweep()

    async def body() -> list[int]:
        assert await nodes.left.send(submission("a")) is None
        with nodes.left.stores._ledger.write() as connection:
            created = leases.now(connection) - kept - 1
            connection.execute(sa.update(tables.recent_claims).values(created=created))
        gone = [await sweep(), await later(kept), await later(1)]
        await nodes.work()
        return [*gone, await sweep(), await later(kept - 1), await later(1)]

    assert nodes.run(body) == [0, 0, 0, 0, 0, 1]


def test_the_audit_log_has_a_time_of_its_own(pipeline: Pipeline) -> None:
    async def body() -> list[int]:
        work = (audit.system(NOW), "clock.accepted", None, None)
        await pipeline.stores.write(audit.note, *work)
        pipeline.clock.advance(400 * DAY)
        kept = await pipeline.retention.sweep()
        pipeline.clock.advance(1)
        return [kept, await pipeline.retention.sweep()]

    assert pipeline.run(body) == [0, 1]


@pytest.mark.parametrize(
    ("age", "gone", "stays"),
    [
        (24 * HOUR - 1, 0, (3, 3, 1)),
        (24 * HOUR, 3, (3, 0, 1)),
        (START + limits.ACTIVITY_DAYS * DAY - NOW, 3, (3, 0, 1)),
        (START + limits.ACTIVITY_DAYS * DAY - NOW + 1, 4, (3, 0, 0)),
        (LAST - NOW, 4, (3, 0, 0)),
        (LAST - NOW + DAY, 4, (3, 0, 0)),
        (LAST - NOW + DAY + 1, 4, (0, 0, 0)),
    ],
)
def test_what_is_over_its_time_goes(
    pipeline: Pipeline, age: int, gone: int, stays: tuple[int, int, int]
) -> None:
    async def body() -> int:
        await accept(pipeline, "a", "b", "c")
        pipeline.clock.advance(age)
        return await pipeline.retention.sweep()

    assert pipeline.run(body) == gone
    assert left(pipeline) == stays


def test_what_came_later_stays(pipeline: Pipeline) -> None:
    async def body() -> int:
        await accept(pipeline, "a", "b")
        pipeline.clock.set(LAST + DAY + 1)
        await accept(pipeline, "c")
        return await pipeline.retention.sweep()

    assert pipeline.run(body) == 3
    assert left(pipeline) == (1, 1, 1)


def test_a_session_of_the_dashboard_goes_with_its_time(pipeline: Pipeline) -> None:
    async def body() -> list[int]:
        for number, ends in enumerate((NOW, NOW + 1)):
            await pipeline.stores.write(
                sessions.create,
                bytes([number]),
                None,
                address="",
                browser="",
                now=NOW,
                expires_at=ends,
            )
        pipeline.clock.set(NOW + 1)
        return [await pipeline.retention.sweep(), pipeline.rows(dashboard_sessions)]

    assert pipeline.run(body) == [1, 1]


@pytest.mark.parametrize(
    ("table", "days"),
    [
        ("rejected_events", limits.REJECTED_EVENTS_DAYS),
        ("duplicate_events", limits.REJECTED_EVENTS_DAYS),
        ("request_logs", limits.REQUEST_LOG_DAYS),
    ],
)
def test_a_partition_goes_when_its_last_day_is_over(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, table: str, days: int
) -> None:
    """The newest partition to go is the one before that of the oldest instant which is kept."""
    asked: dict[str, int] = {}

    def drop(_: UsageStore, name: str, number: int) -> None:
        asked[name] = number

    monkeypatch.setattr(UsageStore, "drop_before", drop)
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    numbers = (20261231, 20270101) if table == "request_logs" else (202612, 202701)
    for oldest, number in zip((new_year - timedelta(seconds=1), new_year), numbers, strict=True):
        pipeline.clock.set(int((oldest + timedelta(days=days)).timestamp() * 1000))
        pipeline.run(pipeline.retention.sweep)
        assert asked[table] == number


def test_a_sweep_goes_in_chunks(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk is a transaction of its own, so that an event can be accepted in between."""
    monkeypatch.setattr(limits, "RETAIN_CHUNK_ROWS_MAX", 2)
    write = pipeline.stores.write
    chunks: list[int] = []

    async def count(work: Any, *args: Any) -> Any:
        gone = await write(work, *args)
        if work is idempotency.expire:
            chunks.append(gone)
        return gone

    async def body() -> int:
        await accept(pipeline, *"abcde")
        pipeline.clock.advance(2 * DAY)
        monkeypatch.setattr(pipeline.stores, "write", count)
        return await pipeline.retention.sweep()

    assert pipeline.run(body) == 5
    assert chunks == [2, 2, 1]


def test_a_sweep_that_fails_is_tried_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETAIN_INTERVAL_SECONDS", 0)
    sweeps = 0
    again = asyncio.Event()

    async def sweep(_: Retention) -> int:
        nonlocal sweeps
        sweeps += 1
        if sweeps == 1:
            raise StoreError("the ledger does not answer")
        again.set()
        return 0

    monkeypatch.setattr(Retention, "sweep", sweep)

    async def body() -> None:
        pipeline.retention.start()
        async with asyncio.timeout(60):
            await again.wait()
        await pipeline.retention.stop()

    asyncio.run(body())
    assert sweeps >= 2
