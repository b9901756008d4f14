"""Many that are due at one instant are billed some at a time, and one of them holds up no other."""

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import OvertakenError
from meterhouse.invoicing import step
from tests.invoicing.samples import events_of
from tests.jobs.crowd import CUSTOMERS, invoicer, invoices_of, subscribe
from tests.metering.samples import DAY, HOUR
from tests.pipeline import Pipeline

BAD = {CUSTOMERS[0], CUSTOMERS[7], CUSTOMERS[29]}
AT_ONCE = 8


@pytest.fixture(autouse=True)
def _some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INVOICE_WRITE_ROWS_MAX", AT_ONCE)


class Lost:
    """A fence that lets some writes through, and then nothing more: somebody else has the lease."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def check(self, _: sa.Connection) -> None:
        if not self.left:
            raise OvertakenError("Another process has taken over.")
        self.left -= 1


def statuses(pipeline: Pipeline) -> Counter[str]:
    return Counter(one.status for name in CUSTOMERS for one in invoices_of(pipeline, name))


def test_who_loses_the_lease_among_many_writes_nothing_more(pipeline: Pipeline) -> None:
    subscribe(pipeline)

    async def bill(writes: int) -> None:
        lost = invoicer(pipeline, pipeline.stores.fenced(Lost(writes)))
        with pytest.raises(OvertakenError):
            await lost.bill()

    async def body() -> None:
        pipeline.clock.advance(31 * DAY)
        await bill(0)
        assert statuses(pipeline) == {}
        await bill(1)
        assert statuses(pipeline) == {"draft": AT_ONCE}
        await bill(2)
        assert statuses(pipeline) == {"draft": 3 * AT_ONCE}
        await invoicer(pipeline).bill()
        pipeline.clock.advance(2 * HOUR)
        await bill(2)
        assert statuses(pipeline) == {"draft": len(CUSTOMERS) - 2 * AT_ONCE, "paid": 2 * AT_ONCE}
        await invoicer(pipeline).bill()

    pipeline.run(body)
    assert statuses(pipeline) == {"paid": len(CUSTOMERS)}
    told = Counter(event["type"] for event in events_of(pipeline.stores._ledger, pipeline.scope))
    for event in ("customer.subscription.updated", "invoice.created", "invoice.finalized"):
        assert told[event] == len(CUSTOMERS)


@pytest.mark.parametrize("what", ["_planned", "_take_step", "finalize_for"])
def test_some_that_fail_leave_out_none_but_themselves(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    subscribe(pipeline)
    work = getattr(step, what)

    def refuse(*args: Any) -> Any:
        if any(name in BAD for one in args for name in _customers(one)):
            raise ValueError("nobody thought of that")
        return work(*args)

    async def body() -> None:
        job = invoicer(pipeline)
        monkeypatch.setattr(step, what, refuse)
        for passed in (31 * DAY, 2 * HOUR):
            pipeline.clock.advance(passed)
            await job.bill()
        for name in CUSTOMERS:
            paid = [one.status for one in invoices_of(pipeline, name)] == ["paid"]
            assert paid == (name not in BAD)
        monkeypatch.setattr(step, what, work)
        for passed in (DAY, 2 * HOUR):
            pipeline.clock.advance(passed)
            await job.bill()

    pipeline.run(body)
    assert statuses(pipeline) == {"paid": len(CUSTOMERS)}


def _customers(one: Any) -> set[str]:
    """Return whom an argument is about."""
    about = getattr(one, "subscription", one)
    return {name for of in (one, about) if isinstance(name := getattr(of, "customer", None), str)}
