from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing import change
from meterhouse.billing.invoice import Invoice, Segment
from meterhouse.billing.period import Period
from meterhouse.billing.price import Recurrence
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.errors import OutdatedError
from meterhouse.invoicing.turn import Terms, Turn, bill_of, take
from meterhouse.ledger import invoice_items, invoices, prices, subscriptions
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.engine import Ledger
from meterhouse.metering.model import Scope
from tests.invoicing.samples import a_price, events_of, scope_of_tests, stock

DAY = 86_400_000
START = 1_667_260_800_000  # 2022-11-01
END = START + 30 * DAY
TERMS = Terms(notice=7 * DAY, delay=3_600_000)
RECURRENCES = {"price_1": Recurrence("month"), "price_2": Recurrence("month")}


@pytest.fixture
def scope(ledger: Ledger) -> Scope:
    scope = scope_of_tests(ledger)
    stock(ledger, scope.id)
    with ledger.write() as connection:
        prices.create_price(connection, replace(a_price(scope.id), id="price_2"))
    return scope


def item(price: str = "price_1") -> Item:
    return Item(
        id="si_1",
        price=price,
        quantity=None,
        period=Period(START, START),
        since=START,
        metadata={},
        created=START,
    )


def begun(ledger: Ledger, scope: Scope, **changes: Any) -> Subscription:
    """Store a subscription that began with November."""
    one = Subscription(
        id="sub_1",
        scope=scope.id,
        customer="cus_1",
        test_clock=None,
        status="active",
        currency="usd",
        mode="flexible",
        anchor=START,
        start=START,
        items=(item(),),
        created=START,
    )
    made = change.started(replace(one, **changes), RECURRENCES, START)
    turn = Turn(
        before=None, change=made, at=START, events=("created",), invoice="subscription_create"
    )
    with ledger.write() as connection:
        return take(connection, Cause(scope, START), turn, [], TERMS)


def counted(connection: sa.Connection, turn: Turn, usage: int) -> list[Segment]:
    bill = bill_of(connection, turn)
    segments = bill.segments if bill else []
    return [replace(one, usage=Decimal(usage), events=1, counted_at=END) for one in segments]


def taken(ledger: Ledger, scope: Scope, turn: Turn, usage: int = 0) -> Subscription:
    with ledger.write() as connection:
        segments = counted(connection, turn, usage)
        return take(connection, Cause(scope, turn.at), turn, segments, TERMS)


def types(ledger: Ledger, scope: Scope) -> list[str]:
    return [event["type"] for event in events_of(ledger, scope)]


def invoice_of(ledger: Ledger, one: Subscription) -> Invoice:
    assert one.latest_invoice is not None
    with ledger.read() as connection:
        found = invoices.find_invoice(connection, one.scope, one.latest_invoice)
    assert found is not None
    return found


def due_of(ledger: Ledger) -> Sequence[int]:
    with ledger.read() as connection:
        due = subscriptions.next_due(connection, None)
        return [] if due is None else [due]


def renewal(one: Subscription) -> Turn:
    return Turn(
        before=one,
        change=change.renewed(one, RECURRENCES, END),
        at=END,
        events=("updated",),
        invoice="subscription_cycle",
        draft=True,
    )


def test_what_is_metered_begins_without_an_invoice(ledger: Ledger, scope: Scope) -> None:
    one = begun(ledger, scope)
    assert one.latest_invoice is None
    assert types(ledger, scope) == ["customer.subscription.created"]
    assert due_of(ledger) == [END - 7 * DAY]


def test_a_renewal_leaves_a_draft(ledger: Ledger, scope: Scope) -> None:
    one = begun(ledger, scope, collection="send_invoice", days_until_due=10)
    renewed = taken(ledger, scope, renewal(one), usage=1_000)
    invoice = invoice_of(ledger, renewed)
    assert (invoice.status, invoice.reason, invoice.total) == ("draft", "subscription_cycle", 3_600)
    assert (invoice.period, invoice.finalizes_at) == (Period(START, END), END + 3_600_000)
    assert (invoice.due_date, invoice.auto_advance) == (END + 10 * DAY, True)
    assert types(ledger, scope)[1:] == ["customer.subscription.updated", "invoice.created"]
    (_, updated, _) = events_of(ledger, scope)
    before = updated["data"]["previous_attributes"]
    assert before["latest_invoice"] is None
    assert before["items"]["data"][0]["current_period_end"] == END // 1000


def test_what_was_counted_must_be_what_is_billed(ledger: Ledger, scope: Scope) -> None:
    one = begun(ledger, scope)
    with ledger.write() as connection:
        segments = counted(connection, renewal(one), 5)
    later = replace(one, items=(replace(one.items[0], since=START + 5),))
    for turn, found in ((renewal(later), segments), (renewal(one), [])):
        with pytest.raises(OutdatedError), ledger.write() as connection:
            take(connection, Cause(scope, END), turn, found, TERMS)
    assert types(ledger, scope) == ["customer.subscription.created"]


def changed(one: Subscription, **more: Any) -> Turn:
    now = START + 10 * DAY
    new = item("price_2")
    made = change.item_changed(one, new, RECURRENCES, now, billed=True)
    return Turn(before=one, change=made, at=now, events=("updated",), **more)


def test_usage_before_a_change_waits_for_the_next_invoice(ledger: Ledger, scope: Scope) -> None:
    one = taken(ledger, scope, changed(begun(ledger, scope)))
    with ledger.read() as connection:
        (waiting,) = invoice_items.pending(connection, "cus_1", "sub_1")
    assert (waiting.price, waiting.usage_in) == ("price_1", Period(START, START + 10 * DAY))
    assert waiting.subscription_item == "si_1"
    assert types(ledger, scope)[1:] == ["invoiceitem.created", "customer.subscription.updated"]

    renewed = taken(ledger, scope, renewal(one), usage=1_000)
    assert invoice_of(ledger, renewed).total == 7_200
    with ledger.read() as connection:
        assert invoice_items.pending(connection, "cus_1", "sub_1") == []


def test_usage_before_a_change_is_invoiced_at_once(ledger: Ledger, scope: Scope) -> None:
    turn = changed(begun(ledger, scope), invoice="subscription_update")
    invoice = invoice_of(ledger, taken(ledger, scope, turn, usage=500))
    assert (invoice.status, invoice.reason, invoice.total) == ("open", "subscription_update", 1_800)
    assert invoice.period == Period(turn.at, turn.at)
    assert types(ledger, scope)[1:4] == [
        "customer.subscription.updated",
        "invoice.created",
        "invoice.finalized",
    ]


@pytest.mark.parametrize(
    ("behavior", "status", "auto_advance"),
    [
        ("void", "void", False),
        ("mark_uncollectible", "uncollectible", False),
        ("keep_as_draft", "draft", False),
    ],
)
def test_a_pause_of_collection(
    ledger: Ledger, scope: Scope, behavior: str, status: str, auto_advance: bool
) -> None:
    one = begun(ledger, scope, details={"pause_collection": {"behavior": behavior}})
    turn = changed(one, invoice="subscription_update")
    invoice = invoice_of(ledger, taken(ledger, scope, turn, usage=500))
    assert (invoice.status, invoice.auto_advance) == (status, auto_advance)
    assert invoice.finalizes_at is None


@pytest.mark.parametrize("billed", [True, False])
def test_one_that_ends(ledger: Ledger, scope: Scope, billed: bool) -> None:
    one = begun(ledger, scope)
    now = START + 10 * DAY
    over = taken(
        ledger,
        scope,
        Turn(
            before=one,
            change=change.canceled(one, now, billed=billed),
            at=now,
            events=("deleted",),
            invoice="subscription_update" if billed else None,
        ),
        usage=500,
    )
    assert (over.status, over.ended_at) == ("canceled", now)
    assert (over.latest_invoice is not None) == billed
    assert types(ledger, scope)[1] == "customer.subscription.deleted"
    assert due_of(ledger) == []
