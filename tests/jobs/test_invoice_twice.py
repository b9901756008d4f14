"""Two that bill at the same time: each thinks that it is alone, and nothing is billed twice."""

import asyncio
from collections import Counter

import pytest

from meterhouse.ledger import subscriptions
from meterhouse.stores import Stores
from tests.invoicing.samples import events_of
from tests.jobs.crowd import CUSTOMERS, invoicer, invoices_of, subscribe
from tests.metering.samples import DAY, HOUR
from tests.pipeline import Pipeline


@pytest.mark.parametrize("usage", ["servers"], indirect=True)
def test_two_bill_each_period_once(pipeline: Pipeline) -> None:
    subscribe(pipeline)
    other = Stores(pipeline.stores._ledger, pipeline.stores._usage)

    async def body() -> None:
        every = [invoicer(pipeline, stores) for stores in (pipeline.stores, other)]
        for _ in range(3):  # periods, and the hour after each
            for passed in (31 * DAY, 2 * HOUR):
                pipeline.clock.advance(passed)
                await asyncio.gather(*(one.bill() for one in every))
        assert not any(one._failed for one in every)

    try:
        pipeline.run(body)
    finally:
        other.close()
    with pipeline.stores._ledger.read() as connection:
        assert subscriptions.due(connection, None, pipeline.clock.now(), 1) == []
    for name in CUSTOMERS:
        made = invoices_of(pipeline, name)
        assert [one.number for one in made] == [
            f"{name.upper()[4:]}-{number:04d}" for number in (3, 2, 1)
        ]
        periods = [one.period for one in made]
        assert [one.end for one in periods[1:]] == [one.start for one in periods[:-1]]
    told = Counter(event["type"] for event in events_of(pipeline.stores._ledger, pipeline.scope))
    assert told["invoice.created"] == told["invoice.paid"] == 3 * len(CUSTOMERS)
    assert told["customer.subscription.updated"] == 3 * len(CUSTOMERS)
