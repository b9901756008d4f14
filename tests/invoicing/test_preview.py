"""The next invoice, before it comes."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from meterhouse.billing.invoice import Line
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import Step, Subscription
from meterhouse.invoicing.bill import Stored
from meterhouse.invoicing.count import count
from meterhouse.invoicing.preview import Preview, Previewed, next_of, shown
from meterhouse.invoicing.turn import Terms, bill_of, take, turn_of
from meterhouse.ledger import customers, invoice_lines, invoices, subscriptions
from meterhouse.ledger.announce import Cause
from tests.billing.samples import MONTHLY as EVERY_MONTH
from tests.invoicing.monthly import MONTH, MONTHLY, put_items, sell, use, waiting
from tests.metering.samples import DAY, NOW
from tests.pipeline import CUSTOMER, Pipeline

TERMS = Terms(notice=0, delay=3_600_000)
EVERY = {"tokens": EVERY_MONTH, "seats": EVERY_MONTH}


@pytest.fixture(autouse=True)
def _sold(pipeline: Pipeline) -> None:
    sell(pipeline)


def next_preview(connection: sa.Connection, one: Subscription) -> Preview | None:
    customer = customers.find_customer(connection, one.scope, CUSTOMER)
    assert customer is not None
    return next_of(connection, customer, one, TERMS)


async def look(pipeline: Pipeline, one: Subscription) -> Previewed | None:
    one = msgspec.structs.replace(one, scope=pipeline.scope.id)
    preview = await pipeline.stores.read(next_preview, one)
    if preview is None:
        return None
    segments = preview.bill.segments
    return shown(preview, await count(pipeline.stores, pipeline.scope, segments, NOW))


def plain(lines: list[Line]) -> list[dict[str, Any]]:
    """What lines say, but for their ids."""
    return [msgspec.structs.asdict(line) | {"id": ""} for line in lines]


def test_at_the_end_of_a_period_it_is_the_invoice(pipeline: Pipeline) -> None:
    """But for the ids and the reason, with whatever waits for the invoice."""
    scope = pipeline.scope.id
    before = Period(MONTH.start - DAY, MONTH.start)
    put_items(
        pipeline,
        waiting("ii_fee", scope),
        waiting("ii_used", scope, price="calls", usage_in=before, period=before),
    )

    async def body() -> tuple[Previewed, Stored]:
        await use(pipeline, (before.start, "6"), (MONTH.start, "3"), (MONTH.end - 1, "9"))
        seen = await look(pipeline, MONTHLY)
        assert seen is not None
        return seen, await invoiced(pipeline)

    (invoice, lines, prices), stored = pipeline.run(body)
    assert plain(lines) == plain(stored.lines)
    assert [line.amount for line in lines] == [24, 500, 2000, 1000, 100]
    same = {"id": "", "reason": "manual", "ending_balance": None}
    assert msgspec.structs.replace(invoice, **same) == msgspec.structs.replace(
        stored.invoice, **same
    )
    assert (invoice.period, invoice.created, invoice.total) == (MONTH, MONTH.end, 3624)
    assert invoice.id.startswith("upcoming_in_1")
    assert {line.id.startswith("il_tmp_1") for line in lines} == {True}
    assert prices.keys() == {"tokens", "seats", "calls"}


async def invoiced(pipeline: Pipeline) -> Stored:
    """Renew the subscription, and return the draft that comes of it."""
    one = msgspec.structs.replace(MONTHLY, scope=pipeline.scope.id)
    turn = turn_of(one, Step(MONTH.end, "renews"), EVERY)
    bill = await pipeline.stores.read(bill_of, turn)
    assert bill is not None
    segments = await count(pipeline.stores, pipeline.scope, bill.segments, NOW)
    cause = Cause(pipeline.scope, NOW)
    after = await pipeline.stores.write(take, cause, turn, segments, TERMS)
    with pipeline.stores._ledger.read() as connection:
        id_ = after.latest_invoice or ""
        invoice = invoices.find_invoice(connection, pipeline.scope.id, id_)
        assert invoice is not None
        return Stored(invoice, invoice_lines.lines_of(connection, [id_])[id_], [])


def test_it_shows_usage_so_far_and_stores_nothing(pipeline: Pipeline) -> None:
    """Its id, and those of its lines, are the same whenever somebody looks."""

    async def body() -> list[Previewed | None]:
        await use(pipeline, (MONTH.start, "3"), (MONTH.end, "50"))
        early = await look(pipeline, MONTHLY)
        await use(pipeline, (MONTH.start + DAY, "4"))
        return [early, await look(pipeline, MONTHLY)]

    early, late = pipeline.run(body)
    assert early is not None
    assert late is not None
    assert [line.amount for line in early.lines] == [2000, 300]
    assert [line.amount for line in late.lines] == [2000, 700]
    assert early.invoice.id == late.invoice.id
    assert [line.id for line in early.lines] == [line.id for line in late.lines]
    with pipeline.stores._ledger.read() as connection:
        assert invoices.find_invoice(connection, pipeline.scope.id, early.invoice.id) is None
        kept = subscriptions.find_subscription(connection, pipeline.scope.id, "sub")
    assert kept == msgspec.structs.replace(MONTHLY, scope=pipeline.scope.id)


@pytest.mark.parametrize(
    ("balance", "due", "ending"), [(-500, 1500, 0), (300, 2300, 0), (-5000, 0, -3000)]
)
def test_what_the_customer_owes_is_reckoned_with(
    pipeline: Pipeline, balance: int, due: int, ending: int
) -> None:
    with pipeline.stores._ledger.write() as connection:
        customer = customers.find_customer(connection, pipeline.scope.id, CUSTOMER, lock=True)
        assert customer is not None
        customers.update_customer(
            connection, msgspec.structs.replace(customer, balance=balance, currency="usd")
        )

    async def body() -> Previewed | None:
        return await look(pipeline, MONTHLY)

    seen = pipeline.run(body)
    assert seen is not None
    invoice = seen.invoice
    assert (invoice.total, invoice.amount_due) == (2000, due)
    assert (invoice.starting_balance, invoice.ending_balance) == (balance, ending)


@pytest.mark.parametrize(
    "members",
    [
        {"status": "canceled"},
        {"status": "paused"},
        {"items": MONTHLY.items[1:], "cancel_at": MONTH.end},  # licensed, and ends
        {
            "status": "trialing",
            "trial": MONTH,
            "details": {"trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}}},
        },
    ],
)
def test_where_nothing_is_to_be_billed_none_comes(
    pipeline: Pipeline, members: dict[str, Any]
) -> None:
    async def body() -> Previewed | None:
        return await look(pipeline, msgspec.structs.replace(MONTHLY, **members))

    assert pipeline.run(body) is None


def test_the_last_one_holds_no_more_than_was_used(pipeline: Pipeline) -> None:
    async def body() -> Previewed | None:
        await use(pipeline, (MONTH.start, "3"))
        return await look(pipeline, msgspec.structs.replace(MONTHLY, cancel_at=MONTH.end))

    seen = pipeline.run(body)
    assert seen is not None
    assert [(line.amount, line.quantity) for line in seen.lines] == [(300, Decimal(3))]
