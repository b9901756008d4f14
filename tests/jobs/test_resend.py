"""A resend beside an erasure, on real stores; `tests.api.meterhouse.test_resends` has the rest."""

import asyncio

import msgspec
import pytest
import sqlalchemy as sa

from meterhouse.jobs import resend
from meterhouse.jobs.resend import Resender
from meterhouse.ledger import erasures, journal, resends
from meterhouse.ledger.erasures import Erasure
from meterhouse.ledger.resends import Resend
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.resend import Plan, Replacement
from meterhouse.metering.search import DEFAULT_CUSTOMER_KEY, EventSearch
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.processing.under_way import UnderWay
from tests.metering.samples import NOW, event
from tests.pipeline import CUSTOMER, Pipeline, create_meter, stream

ERASURE = Erasure(id="ers_1", scope=1, customer=CUSTOMER, created=NOW, step="events")


def resender(pipeline: Pipeline) -> Resender:
    def sent(events: int) -> None:
        pipeline.acceptor.journal_events += events
        pipeline.processor.wake()

    return Resender(
        pipeline.stores,
        pipeline.identifiers,
        pipeline.processor.settle,
        UnderWay(pipeline.clock).receiving,
        sent,
        pipeline.clock,
        Timekeeper(pipeline.stores, pipeline.clock),
        pipeline.metrics,
    )


async def begin(pipeline: Pipeline) -> None:
    """Have two events rejected, take the cause away, and let them be sent again."""
    payload = {"stripe_customer_id": CUSTOMER, "value": "2"}
    wrong = [event(identifier=name, event_name="cals", payload=payload) for name in "ab"]
    await stream(pipeline, *wrong)
    assert await pipeline.processor.settle(30)

    def work(connection: sa.Connection) -> None:
        create_meter(connection, pipeline.scope, id="mtr_2", event_name="cals")
        search = EventSearch(
            scope=pipeline.scope, customer_keys=(DEFAULT_CUSTOMER_KEY,), outcome="rejected"
        )
        plan = Plan(search=search, replacement=Replacement(), whole=False)
        begun = Resend(
            id="rsd_1",
            scope=pipeline.scope.id,
            plan=plan,
            dry_run=False,
            created=NOW,
            end_position=journal.watermark(connection) + 1,
        )
        resends.put(connection, begun)

    await pipeline.stores.write(work)


async def complete(pipeline: Pipeline) -> Resend:
    async with asyncio.timeout(30):
        while True:
            found = await pipeline.stores.read(resends.find, pipeline.scope.id, "rsd_1")
            assert found is not None
            if found.status == "complete":
                return found
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("erasing", ["begins", "has ended"])
def test_what_is_erased_since_a_chunk_was_read_is_not_brought_back(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, erasing: str
) -> None:
    """Given an erasure between the read of a chunk and its sending, then it is read again."""
    send = resend._send
    sent: list[bool] = []

    def after_an_erasure(
        connection: sa.Connection, one: Resend, events: list[MeterEvent], erased: int | None
    ) -> bool:
        if not sent:
            ended = msgspec.structs.replace(ERASURE, step="files", events_erased_at=NOW)
            erasures.put(connection, ERASURE if erasing == "begins" else ended)
        sent.append(send(connection, one, events, erased))
        return sent[-1]

    async def body() -> Resend:
        monkeypatch.setattr(resend, "_send", after_an_erasure)
        await begin(pipeline)
        job = resender(pipeline)
        job.start()
        if erasing == "begins":
            async with asyncio.timeout(30):
                while await pipeline.stores.read(resends.oldest_running):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert sent == [False]
            ended = msgspec.structs.replace(ERASURE, step="files", events_erased_at=NOW)
            await pipeline.stores.write(erasures.save, ended)
            job.wake()
        found = await complete(pipeline)
        await job.stop()
        return found

    found = pipeline.run(body)
    assert sent == [False, True]
    assert (found.accepted, found.duplicate, found.codes) == (2, 0, {})
    assert pipeline.books()["acknowledged"] == 4
