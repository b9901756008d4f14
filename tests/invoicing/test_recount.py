"""Bills that are gathered from the ledger, counted, and counted anew."""

import msgspec
import pytest
import sqlalchemy as sa

from meterhouse.billing.bill import Bill
from meterhouse.billing.change import started
from meterhouse.billing.invoice import Invoice, Line
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import Subscription
from meterhouse.invoicing.bill import Stored, of_end, of_renewal, of_start, of_waiting
from meterhouse.invoicing.create import create_invoice
from meterhouse.invoicing.recount import made_now, recounted
from meterhouse.ledger import invoice_lines
from meterhouse.ledger.announce import Cause
from tests.billing.samples import MONTHLY as EVERY_MONTH
from tests.billing.samples import item
from tests.invoicing.monthly import MONTH, MONTHLY, put_items, sell, use, waiting
from tests.invoicing.samples import post
from tests.metering.samples import DAY, NOW
from tests.pipeline import CUSTOMER, Pipeline


@pytest.fixture(autouse=True)
def _sold(pipeline: Pipeline) -> None:
    sell(pipeline)


def short(lines: list[Line]) -> list[tuple[str, int]]:
    return [(line.description, line.amount) for line in lines]


def draft_of(pipeline: Pipeline, id_: str, **members: object) -> Invoice:
    plain = Invoice(
        id=id_,
        scope=pipeline.scope.id,
        customer=CUSTOMER,
        subscription="sub",
        test_clock=None,
        status="draft",
        reason="subscription_cycle",
        currency="usd",
        period=MONTH,
        created=NOW,
    )
    return msgspec.structs.replace(plain, **members)


def test_a_draft_follows_usage(pipeline: Pipeline) -> None:
    """Ids stay, and what was written onto a line; an event at the period's end is not in it."""
    fee = waiting("ii_fee", pipeline.scope.id)
    before = Period(MONTH.start - DAY, MONTH.start)
    used = waiting("ii_used", pipeline.scope.id, price="calls", usage_in=before, period=before)
    put_items(pipeline, fee, used)

    async def renew(invoice: Invoice) -> Stored:
        bill: Bill = await pipeline.stores.read(of_renewal, MONTHLY, MONTH.end)
        lines, segments = await made_now(pipeline.stores, pipeline.scope, bill, invoice.id, NOW)
        cause = Cause(pipeline.scope, NOW)
        stored = await pipeline.stores.write(post, create_invoice, cause, invoice, lines, segments)
        return Stored(stored, lines, segments)

    async def body() -> tuple[Stored, Stored]:
        await use(pipeline, (MONTH.start, "3"), (MONTH.end, "1000"), (before.end - 1, "6"))
        made = await renew(draft_of(pipeline, "in_1"))
        await pipeline.stores.write(_write_onto, made)
        await use(pipeline, (MONTH.end - 1, "9"), (before.start, "1"))
        [anew] = await recounted(pipeline.stores, pipeline.scope, [made.invoice], NOW + 5)
        return made, anew

    made, anew = pipeline.run(body)
    assert short(made.lines) == [
        ("6 × calls (at $0.04 / month)", 24),
        ("Fee", 500),
        ("2 × seats (at $10.00 / month)", 2000),
        ("3 × tokens (Tier 1 at $1.00 / month)", 300),
    ]
    assert short(anew.lines) == [
        ("7 × calls (at $0.04 / month)", 28),
        ("Fee", 500),
        ("2 × seats (at $10.00 / month)", 2000),
        ("10 × tokens (Tier 1 at $1.00 / month)", 1000),
        ("2 × tokens (Tier 2 at $0.50 / month)", 100),
    ]
    assert [line.id for line in anew.lines[:4]] == [line.id for line in made.lines]
    assert [line.metadata for line in anew.lines] == [
        {},
        {},
        {"team": "blue"},
        {"seen": "yes"},
        {"team": "blue"},
    ]
    assert (anew.invoice.total, anew.invoice.amount_due) == (3628, 3628)
    assert [(str(one.usage), one.amount, one.counted_at) for one in anew.segments] == [
        ("7", 28, NOW + 5),
        ("12", 1100, NOW + 5),
    ]


def _write_onto(connection: sa.Connection, made: Stored) -> None:
    """Give the last line metadata of its own."""
    last = msgspec.structs.replace(made.lines[-1], metadata={"seen": "yes"})
    lines = [*made.lines[:-1], last]
    invoice_lines.put_lines(connection, made.invoice.scope, made.invoice.id, lines)


def test_many_are_counted_at_once(pipeline: Pipeline) -> None:
    """Each draft has its own counts; a finalized invoice stays as it was stored."""
    others = [
        msgspec.structs.replace(MONTHLY, id=f"sub_{number}", items=(item("calls", period),))
        for number, period in enumerate(
            (MONTH, Period(MONTH.start, MONTH.start + DAY), Period(MONTH.end, MONTH.end + DAY))
        )
    ]

    async def body() -> list[Stored]:
        await use(pipeline, (MONTH.start, "1"), (MONTH.end - 1, "2"), (MONTH.end, "4"))
        invoices = []
        for number, one in enumerate(others):
            bill = await pipeline.stores.read(of_renewal, one, one.period.end)
            invoice = draft_of(pipeline, f"in_{number}", subscription=None)
            lines, segments = await made_now(pipeline.stores, pipeline.scope, bill, invoice.id, NOW)
            cause = Cause(pipeline.scope, NOW)
            invoices.append(
                await pipeline.stores.write(post, create_invoice, cause, invoice, lines, segments)
            )
        await use(pipeline, (MONTH.start + 5, "8"))
        final = msgspec.structs.replace(invoices[1], status="open")
        asked = [invoices[2], final, invoices[0]]
        return await recounted(pipeline.stores, pipeline.scope, asked, NOW)

    found = pipeline.run(body)
    assert [(one.invoice.id, one.invoice.total) for one in found] == [
        ("in_2", 16),
        ("in_1", 4),
        ("in_0", 44),
    ]
    assert [sum(line.amount for line in one.lines) for one in found] == [16, 4, 44]


def read(pipeline: Pipeline, work: object, *args: object) -> Bill:
    with pipeline.stores._ledger.read() as connection:
        bill: Bill = work(connection, *args)  # type: ignore[operator]
    return bill


def parts(bill: Bill) -> list[str]:
    """The parts of a bill in short: of which item they are."""
    return [
        (part.invoice_item or part.subscription_item or "")
        if isinstance(part, Line)
        else (part.segment.invoice_item or part.segment.subscription_item or "")
        for part in bill.parts
    ]


def test_what_waits_stands_first_and_comes_with_something_else(pipeline: Pipeline) -> None:
    """What is in another currency, or another subscription's, waits on."""
    scope = pipeline.scope.id
    put_items(
        pipeline,
        waiting("ii_1", scope),
        waiting("ii_2", scope, subscription=None),
        waiting("ii_3", scope, currency="eur"),
    )
    assert parts(read(pipeline, of_renewal, MONTHLY, MONTH.end)) == [
        "ii_2",
        "ii_1",
        "si_seats",
        "si_tokens",
    ]
    assert parts(read(pipeline, of_waiting, MONTHLY)) == ["ii_2", "ii_1"]


def test_a_start_that_owes_nothing_has_no_bill(pipeline: Pipeline) -> None:
    put_items(pipeline, waiting("ii_1", pipeline.scope.id, subscription=None))
    metered = msgspec.structs.replace(MONTHLY, items=MONTHLY.items[:1])
    change = started(metered, {"tokens": EVERY_MONTH}, metered.start)
    assert read(pipeline, of_start, change).parts == ()


def test_an_end_bills_what_was_used_and_what_waits(pipeline: Pipeline) -> None:
    put_items(pipeline, waiting("ii_1", pipeline.scope.id))
    bill = read(pipeline, of_end, MONTHLY, MONTH.start + 5)
    assert parts(bill) == ["ii_1", "si_tokens"]
    assert [one.usage_in for one in bill.segments] == [Period(MONTH.start, MONTH.start + 5)]


def test_a_trial_ends_as_a_renewal(pipeline: Pipeline) -> None:
    trial: Subscription = msgspec.structs.replace(
        MONTHLY, status="trialing", trial=MONTH, anchor=MONTH.end
    )
    bill = read(pipeline, of_renewal, trial, MONTH.end)
    assert parts(bill) == ["si_seats", "si_tokens"]
    assert [one.free for one in bill.segments] == [True]
