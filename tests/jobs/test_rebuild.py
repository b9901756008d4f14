"""Rebuilds whose owner changes in the middle, on real stores."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse.errors import DisturbedError
from meterhouse.jobs import rebuild
from meterhouse.jobs.rebuild import Rebuilder
from meterhouse.ledger import dimensions, meters
from meterhouse.ledger.dimensions import DimensionChange
from meterhouse.processing.stillness import Still, alone
from meterhouse.stores import Fence
from meterhouse.usage.rebuild import add_month
from tests.metering.samples import NOW, event
from tests.owned import take_over
from tests.pipeline import CUSTOMER, Pipeline, stream

METER = "mtr_1"


async def rebuilder(pipeline: Pipeline, owner: str, still: Still | None = None) -> Rebuilder:
    """Return that of a process which has just become the owner."""
    lease = await pipeline.stores.write(take_over, "rebuild", owner)
    return Rebuilder(
        pipeline.stores.fenced(lease),
        pipeline.processor.settle,
        still or alone(pipeline.processor.still),
        pipeline.clock,
        asyncio.Lock(),
    )


async def fill(pipeline: Pipeline) -> None:
    """Send events, and let the meter get a dimension."""
    for number, region in enumerate(("eu", "us", "eu")):
        payload = {"stripe_customer_id": CUSTOMER, "value": str(number + 1), "region": region}
        await stream(pipeline, event(identifier=f"e{number}", payload=payload))
    change = DimensionChange(
        scope=pipeline.scope.id, meter=METER, version=2, keys=("region",), created=NOW
    )
    await pipeline.stores.write(dimensions.begin, change)


async def ended(pipeline: Pipeline) -> None:
    async with asyncio.timeout(30):
        while await pipeline.stores.read(dimensions.oldest_running):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def version(pipeline: Pipeline) -> int:
    with pipeline.stores._ledger.read() as connection:
        return meters.by_ids(connection, [METER])[METER].dimension_version


def test_an_owner_that_wakes_up_again_adds_nothing_to_what_is_read(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given one that stands still in the middle of a month, and goes on after its successor."""
    stopped, go_on = Event(), Event()

    def slow(*args: Any) -> None:
        if not stopped.is_set():
            stopped.set()
            go_on.wait(30)
        add_month(*args)

    async def body() -> dict[str, Any]:
        await fill(pipeline)
        monkeypatch.setattr(rebuild, "add_month", slow)
        one = await rebuilder(pipeline, "one")
        one.start()
        await asyncio.to_thread(stopped.wait, 30)
        other = await rebuilder(pipeline, "other")
        other.start()
        await ended(pipeline)
        go_on.set()
        assert one._task is not None
        async with asyncio.timeout(30):
            await asyncio.wait({one._task})  # it has found out, and has ended by itself
        assert one._task.exception() is None
        await other.stop()
        return await pipeline.verify()

    state = pipeline.run(body)
    assert (state["status"], state["problems"]) == ("balanced", [])
    assert version(pipeline) == 3


def test_a_meter_does_not_switch_unless_it_is_still_to_the_end(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a stillness that ends early, then what was done within is done again."""
    monkeypatch.setattr("meterhouse.limits.REBUILD_RETRY_SECONDS", 0.01)
    tries = 0

    class Broken:
        def check(self, _: sa.Connection) -> None:
            raise DisturbedError("Processing went on before this was finished.")

    @asynccontextmanager
    async def still() -> AsyncIterator[Fence]:
        nonlocal tries
        tries += 1
        if tries == 1:
            yield Broken()
            return
        async with alone(pipeline.processor.still)() as fence:
            yield fence

    async def body() -> dict[str, Any]:
        await fill(pipeline)
        one = await rebuilder(pipeline, "one", still)
        one.start()
        await ended(pipeline)
        await one.stop()
        return await pipeline.verify()

    state = pipeline.run(body)
    assert (state["status"], state["problems"]) == ("balanced", [])
    assert tries == 2
