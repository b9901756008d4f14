"""Two that bill at the same time: each thinks that it is alone, and nothing is billed twice."""

import asyncio
from collections import Counter

import pytest

from meterhouse.billing import change
from meterhouse.billing.period import Period
from meterhouse.billing.price import Recurrence
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.invoicing.turn import Terms, Turn, take
from meterhouse.jobs.invoice import Invoicer
from meterhouse.ledger import customers, invoices, prices, products, subscriptions
from meterhouse.ledger.announce import Cause
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.stores import Stores
from meterhouse.wire.page import PageParams
from tests.invoicing.samples import a_price, a_product, events_of
from tests.metering.samples import DAY, HOUR, NOW
from tests.pipeline import Pipeline, customer

TERMS = Terms(notice=0, delay=HOUR)
RECURRENCES = {"price_1": Recurrence("month")}
CUSTOMERS = [f"cus_{number}" for number in range(2, 32)]


def subscribe(pipeline: Pipeline) -> None:
    """Let many customers be subscribed from the same instant on."""
    scope = pipeline.scope
    with pipeline.stores._ledger.write() as connection:
        products.create_product(connection, a_product(scope.id))
        prices.create_price(connection, a_price(scope.id))
        for name in CUSTOMERS:
            customers.create_customer(connection, customer(scope, id=name))
            item = Item(
                id=f"si_{name}",
                price="price_1",
                quantity=None,
                period=Period(NOW, NOW),
                since=NOW,
                metadata={},
                created=NOW,
            )
            one = Subscription(
                id=f"sub_{name}",
                scope=scope.id,
                customer=name,
                test_clock=None,
                status="active",
                currency="usd",
                mode="flexible",
                anchor=NOW,
                start=NOW,
                items=(item,),
                created=NOW,
            )
            made = change.started(one, RECURRENCES, NOW)
            turn = Turn(before=None, change=made, at=NOW, events=())
            take(connection, Cause(scope, NOW), turn, [], TERMS)


@pytest.mark.parametrize("usage", ["servers"], indirect=True)
def test_two_bill_each_period_once(pipeline: Pipeline) -> None:
    subscribe(pipeline)
    timekeeper = Timekeeper(pipeline.stores, pipeline.clock)  # not opened: it goes by the clock
    other = Stores(pipeline.stores._ledger, pipeline.stores._usage)

    async def body() -> None:
        every = [
            Invoicer(stores, pipeline.processor.settle, pipeline.clock, timekeeper, TERMS)
            for stores in (pipeline.stores, other)
        ]
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
            page = invoices.list_invoices(
                connection, pipeline.scope.id, PageParams(), invoices.Filter(customer=name)
            )
            assert page is not None
            numbers = [one.number for one in page[0]]
            assert numbers == [f"{name.upper()[4:]}-{number:04d}" for number in (3, 2, 1)]
            periods = [one.period for one in page[0]]
            assert [one.end for one in periods[1:]] == [one.start for one in periods[:-1]]
    told = Counter(event["type"] for event in events_of(pipeline.stores._ledger, pipeline.scope))
    assert told["invoice.created"] == told["invoice.paid"] == 3 * len(CUSTOMERS)
    assert told["customer.subscription.updated"] == 3 * len(CUSTOMERS)
