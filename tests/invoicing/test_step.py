"""Steps of many subscriptions and invoices in one transaction: each is as if it were alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing.invoice import Invoice
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.invoicing.bill import Stored
from meterhouse.invoicing.step import (
    Planned,
    Present,
    finalize_due,
    plan,
    take_steps,
    tell_overdue,
)
from meterhouse.invoicing.turn import Terms
from meterhouse.ledger import (
    customers,
    invoice_items,
    invoice_lines,
    invoice_segments,
    invoices,
    subscriptions,
)
from meterhouse.ledger.engine import Ledger
from meterhouse.metering.model import Scope
from meterhouse.wire.page import PageParams
from tests.invoicing.samples import (
    a_customer,
    an_invoice,
    an_item,
    events_of,
    scope_of_tests,
    stock,
)

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_667_260_800_000  # 2022-11-01
END = START + 30 * DAY
TERMS = Terms(notice=0, delay=HOUR, late="bill")


@pytest.fixture
def scope(ledger: Ledger) -> Scope:
    scope = scope_of_tests(ledger)
    stock(ledger, scope.id)
    return scope


def subscribe(ledger: Ledger, scope: Scope, number: int, customer: str, **changes: Any) -> str:
    """Let a customer be subscribed to what ends its month at `END`."""
    item = Item(
        id=f"si_{number}",
        price="price_1",
        quantity=None,
        period=Period(START, END),
        since=START,
        metadata={},
        created=START,
    )
    one = Subscription(
        id=f"sub_{number}",
        scope=scope.id,
        customer=customer,
        test_clock=None,
        status="active",
        currency="usd",
        mode="flexible",
        anchor=START,
        start=START,
        items=(item,),
        upcoming_told=END,
        metadata={"number": str(number)},
        created=START,
    )
    with ledger.write() as connection:
        subscriptions.create_subscription(connection, replace(one, **changes), END)
    return one.id


def crowd(ledger: Ledger, scope: Scope, size: int) -> list[str]:
    """Let so many customers be subscribed; the last of them is sent its invoices."""
    made = []
    for number in range(2, size + 2):
        with ledger.write() as connection:
            customers.create_customer(connection, a_customer(scope.id, f"cus_{number}"))
        sent = number == size + 1
        more = {"collection": "send_invoice", "days_until_due": 1} if sent else {}
        made.append(subscribe(ledger, scope, number, f"cus_{number}", **more))
    return made


def planned(ledger: Ledger, until: int = END) -> list[Planned]:
    """Return what is due, each of whose segments is counted to be a hundred."""
    with ledger.read() as connection:
        steps = plan(connection, subscriptions.due(connection, None, until, 100), until, TERMS)
    return [
        one._replace(
            segments=[
                replace(segment, usage=Decimal(100), events=1, counted_at=until)
                for segment in one.segments
            ]
        )
        for one in steps
    ]


def present(scope: Scope, now: int = END) -> Present:
    return Present(now, None, {scope.id: scope})


def renew(ledger: Ledger, scope: Scope, steps: Sequence[Planned] | None = None) -> None:
    steps = planned(ledger) if steps is None else steps
    with ledger.write() as connection:
        take_steps(connection, present(scope), TERMS, steps)


def drafts(ledger: Ledger) -> list[Stored]:
    """Return the drafts that are due an hour later, as they were counted."""
    with ledger.read() as connection:
        due = invoices.due(connection, None, END + HOUR, 100)
        lines = invoice_lines.lines_of(connection, [one.id for one in due])
        segments = invoice_segments.segments_of(connection, [one.id for one in due])
    return [Stored(one, lines[one.id], segments[one.id]) for one in due]


def finalize(ledger: Ledger, scope: Scope, some: Sequence[Stored] | None = None) -> None:
    some = drafts(ledger) if some is None else some
    with ledger.write() as connection:
        finalize_due(connection, present(scope, END + HOUR), some)


def invoices_of(ledger: Ledger, scope: Scope, customer: str) -> list[Invoice]:
    """Return a customer's invoices, oldest first."""
    with ledger.read() as connection:
        wanted = invoices.Filter(customer=customer)
        page = invoices.list_invoices(connection, scope.id, PageParams(limit=100), wanted)
    assert page is not None
    return page[0][::-1]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Note what is asked of a database."""
    asked: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def test_many_take_as_many_statements_as_few(ledger: Ledger, scope: Scope) -> None:
    """Given a crowd, then planning, renewing, finalizing and reminding it asks no more often."""
    found = []
    for size in (2, 11):
        crowd(ledger, scope, size)
        with statements() as planning:
            steps = planned(ledger)
        with statements() as renewing:
            renew(ledger, scope, steps)
        some = drafts(ledger)
        with statements() as finalizing:
            finalize(ledger, scope, some)
        with statements() as reminding:
            remind(ledger, scope)
        found.append([planning, renewing, finalizing, reminding])
        clear(ledger)
    few, many = ([len(asked) for asked in told] for told in found)
    assert many == few
    assert max(many) < 25


def remind(ledger: Ledger, scope: Scope) -> None:
    late = END + 3 * DAY
    with ledger.write() as connection:
        due = invoices.due(connection, None, late, 100)
        tell_overdue(connection, present(scope, late), TERMS, due)
    assert due


def clear(ledger: Ledger) -> None:
    """Leave nobody who is billed, but for the customer of the stock."""
    with ledger.write() as connection:
        for table in ("invoice_lines", "invoice_segments", "invoices", "subscription_items"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - one of these
        connection.exec_driver_sql("DELETE FROM subscriptions")
        connection.exec_driver_sql("DELETE FROM customers WHERE id <> 'cus_1'")


def test_each_of_many_is_told_what_it_would_be_told_alone(ledger: Ledger, scope: Scope) -> None:
    crowd(ledger, scope, 5)
    renew(ledger, scope)
    finalize(ledger, scope)
    for number in range(2, 7):
        [invoice] = invoices_of(ledger, scope, f"cus_{number}")
        assert (invoice.status, invoice.total) == ("open", 360)
        assert invoice.number == f"{number}-0001"
        assert invoice.details["subscription_metadata"] == {"number": str(number)}
        about = [
            event["type"]
            for event in events_of(ledger, scope)
            if event["data"]["object"]["customer"] == f"cus_{number}"
        ]
        sent = ["invoice.sent"] if number == 6 else []
        created, finalized = "invoice.created", "invoice.finalized"
        assert about == ["customer.subscription.updated", created, finalized, *sent]


def test_one_that_has_changed_meanwhile_is_left_alone(ledger: Ledger, scope: Scope) -> None:
    changed, *others = crowd(ledger, scope, 4)
    steps = planned(ledger)
    with ledger.write() as connection:
        one = subscriptions.find_subscription(connection, scope.id, changed, lock=True)
        assert one is not None
        subscriptions.update_subscription(connection, replace(one, metadata={"a": "b"}), END)
    renew(ledger, scope, steps)
    some = drafts(ledger)
    assert {one.invoice.subscription for one in some} == {*others}
    with ledger.write() as connection:
        invoices.update_invoice(connection, replace(some[0].invoice, footer="wait"))
    finalize(ledger, scope, some)
    left = [one.invoice.id for one in drafts(ledger) if one.invoice.status == "draft"]
    assert left == [some[0].invoice.id]
    assert [one.subscription.id for one in planned(ledger)] == [changed]


def test_what_fails_of_one_leaves_nothing_of_any(
    ledger: Ledger, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(ledger, scope, 3)
    steps = planned(ledger)
    uncounted = [*steps[:2], steps[2]._replace(segments=())]
    with pytest.raises(Exception, match="another by now"):
        renew(ledger, scope, uncounted)
    assert drafts(ledger) == []
    renew(ledger, scope, steps)

    def fail(*_: object) -> None:
        raise ValueError("the last of what is written")

    monkeypatch.setattr("meterhouse.ledger.outbox.emit_all", fail)
    before = drafts(ledger)
    with pytest.raises(ValueError, match="the last"):
        finalize(ledger, scope)
    assert drafts(ledger) == before


def test_two_subscriptions_of_a_customer_take_a_pending_item_once(
    ledger: Ledger, scope: Scope
) -> None:
    own = [an_item(scope.id, subscription=None), an_item(scope.id, subscription="sub_2")]
    for number in (1, 2):
        subscribe(ledger, scope, number, "cus_1")
    with ledger.write() as connection:
        invoice_items.create_items(connection, own)
    renew(ledger, scope)
    first, second = invoices_of(ledger, scope, "cus_1")
    assert (first.total, second.total) == (860, 860)
    with ledger.read() as connection:
        assert [one.id for one in invoice_items.on_invoice(connection, first.id)] == [own[0].id]
        assert [one.id for one in invoice_items.on_invoice(connection, second.id)] == [own[1].id]


def test_several_invoices_of_a_customer_are_numbered_and_settled_one_by_one(
    ledger: Ledger, scope: Scope
) -> None:
    """A number that was given by hand is passed over, and the credit is spent once."""
    with ledger.write() as connection:
        by_hand = an_invoice(scope.id, number="1-0002")
        invoices.create_invoice(connection, by_hand)
        found = customers.hold(connection, ["cus_1"])["cus_1"]
        customers.update_accounts(connection, [replace(found, balance=-500, currency="usd")])
    for number in range(4):
        subscribe(ledger, scope, number, "cus_1")
    renew(ledger, scope)
    finalize(ledger, scope)
    _, *made = invoices_of(ledger, scope, "cus_1")
    assert [one.number for one in made] == ["1-0001", "1-0003", "1-0004", "1-0005"]
    assert [one.amount_due for one in made] == [0, 220, 360, 360]
    assert [one.status for one in made] == ["paid", "open", "open", "open"]
    with ledger.read() as connection:
        now = customers.find_customer(connection, scope.id, "cus_1")
    assert now is not None
    assert (now.balance, now.next_invoice_sequence) == (0, 6)
