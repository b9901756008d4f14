from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from meterhouse.billing.invoice import Invoice
from meterhouse.billing.period import Period
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.invoice_items import (
    Filter as ItemFilter,
)
from meterhouse.ledger.invoice_items import (
    assign,
    by_ids,
    create_item,
    delete_item,
    find_item,
    list_items,
    on_invoice,
    pending,
    update_item,
)
from meterhouse.ledger.invoice_lines import lines_of, put_lines
from meterhouse.ledger.invoice_segments import put_segments, segments_of
from meterhouse.ledger.invoices import (
    Filter,
    create_invoice,
    delete_invoice,
    due,
    find_invoice,
    has_number,
    list_invoices,
    update_invoice,
)
from meterhouse.ledger.tables import subscriptions
from meterhouse.wire.page import PageParams
from tests.invoicing.samples import (
    NOVEMBER,
    NOW,
    a_line,
    a_segment,
    an_invoice,
    an_item,
    scope_of_tests,
    stock,
)


@pytest.fixture
def scope(ledger: Ledger) -> int:
    scope = scope_of_tests(ledger).id
    stock(ledger, scope)
    stock(ledger, scope, "cus_2")
    return scope


def subscribe(ledger: Ledger, scope: int, *ids: str) -> None:
    """Put subscriptions there of which nothing is known but their ids."""
    rows = [
        {
            "id": one,
            "scope": scope,
            "customer": "cus_1",
            "status": "active",
            "collection": "charge_automatically",
            "revision": 0,
            "metadata": {},
            "details": {},
            "created": 1,
        }
        for one in ids
    ]
    with ledger.write() as connection:
        connection.execute(sa.insert(subscriptions), rows)


def put(ledger: Ledger, *new: Invoice) -> None:
    with ledger.write() as connection:
        for one in new:
            create_invoice(connection, one)


FULL: dict[str, Any] = {
    "status": "open",
    "reason": "subscription_cycle",
    "collection": "send_invoice",
    "due_date": NOW + 1,
    "auto_advance": True,
    "number": "DF67D6F2-0001",
    "subtotal": -5,
    "total": -5,
    "amount_due": 7,
    "amount_paid": 3,
    "amount_paid_off_stripe": 3,
    "starting_balance": 12,
    "ending_balance": 0,
    "attempted": True,
    "finalized_at": NOW,
    "paid_at": NOW,
    "voided_at": NOW,
    "marked_uncollectible_at": NOW,
    "overdue_told": True,
    "description": "d",
    "footer": "f",
    "metadata": {"a": "b"},
    "details": {"customer_name": "Ada"},
    "test_clock": "clock_1",
    "revision": 7,
}


@pytest.mark.parametrize("changes", [{}, FULL], ids=["draft", "all"])
def test_an_invoice_comes_back_as_it_was_stored(
    ledger: Ledger, scope: int, changes: dict[str, Any]
) -> None:
    invoice = an_invoice(scope, **changes)
    put(ledger, invoice)
    with ledger.read() as connection:
        assert find_invoice(connection, scope, invoice.id) == invoice
        assert find_invoice(connection, scope + 1, invoice.id) is None
    with ledger.write() as connection:
        assert find_invoice(connection, scope, invoice.id, lock=True) == invoice
        assert find_invoice(connection, scope, "in_nope", lock=True) is None


def test_lines_and_segments_come_back_as_they_were_stored(ledger: Ledger, scope: int) -> None:
    one, other = an_invoice(scope), an_invoice(scope)
    put(ledger, one, other)
    lines = [
        a_line(0, tier=1, segment=0, quantity=Decimal("0.000000000001"), metadata={"a": "b"}),
        a_line(900, tier=1, flat=True, subscription_item="si_1", proration=True),
        a_line(-3, price=None, product=None, invoice_item="ii_1"),
    ]
    segments = [
        a_segment(1, free=True, billed_before=3, invoice_item="ii_1", counted_at=None),
        a_segment(0, usage=Decimal("-999999999999999.123456789012")),
    ]
    with ledger.write() as connection:
        put_lines(connection, scope, one.id, [a_line()])
        put_lines(connection, scope, one.id, lines)
        put_segments(connection, scope, one.id, [a_segment(5)])
        put_segments(connection, scope, one.id, segments)
    with ledger.read() as connection:
        assert lines_of(connection, (other.id, one.id)) == {other.id: [], one.id: lines}
        found = segments_of(connection, (one.id, other.id))
        assert found == {one.id: segments[::-1], other.id: []}


def test_revisions_grow(ledger: Ledger, scope: int) -> None:
    invoice = an_invoice(scope)
    put(ledger, invoice)
    with ledger.write() as connection:
        stored = update_invoice(connection, msgspec.structs.replace(invoice, footer="f"))
        assert stored.revision == 1
        assert find_invoice(connection, scope, invoice.id) == stored


FINAL: dict[str, Any] = {
    "status": "open",
    "number": "A-0001",
    "finalized_at": NOW,
    "total": 5,
    "amount_due": 5,
}


@pytest.mark.parametrize(
    "change",
    [
        {"number": "A-0002"},
        {"number": None},
        {"total": 6},
        {"currency": "eur"},
        {"customer": "cus_2"},
        {"finalized_at": None, "status": "draft"},
        {"finalized_at": NOW + 1},
    ],
    ids=str,
)
def test_what_a_finalized_invoice_keeps(ledger: Ledger, scope: int, change: dict[str, Any]) -> None:
    invoice = an_invoice(scope, **FINAL)
    put(ledger, invoice)
    with ledger.write() as connection, pytest.raises(ValueError, match="finalized"):
        update_invoice(connection, msgspec.structs.replace(invoice, **change))
    with ledger.read() as connection:
        assert find_invoice(connection, scope, invoice.id) == invoice


def test_a_finalized_invoice_keeps_its_lines_and_segments(ledger: Ledger, scope: int) -> None:
    invoice = an_invoice(scope)
    put(ledger, invoice)
    lines, segments = [a_line()], [a_segment()]
    with ledger.write() as connection:
        put_lines(connection, scope, invoice.id, lines)
        put_segments(connection, scope, invoice.id, segments)
        update_invoice(connection, msgspec.structs.replace(invoice, **FINAL))
    works: list[Callable[[sa.Connection], None]] = [
        lambda connection: put_lines(connection, scope, invoice.id, []),
        lambda connection: put_segments(connection, scope, invoice.id, []),
        lambda connection: delete_invoice(connection, invoice.id),
    ]
    for work in works:
        with ledger.write() as connection, pytest.raises(ValueError, match="finalized"):
            work(connection)
    with ledger.read() as connection:
        assert lines_of(connection, [invoice.id]) == {invoice.id: lines}
        assert segments_of(connection, [invoice.id]) == {invoice.id: segments}


def test_a_draft_can_be_deleted(ledger: Ledger, scope: int) -> None:
    invoice = an_invoice(scope)
    put(ledger, invoice)
    with ledger.write() as connection:
        delete_invoice(connection, invoice.id)
        assert find_invoice(connection, scope, invoice.id) is None


def test_a_customer_has_a_number_once(ledger: Ledger, scope: int) -> None:
    put(ledger, an_invoice(scope, number="A-1"), an_invoice(scope, "cus_2", number="A-1"))
    with ledger.write() as connection:
        assert has_number(connection, "cus_1", "A-1")
        assert not has_number(connection, "cus_1", "A-2")
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            create_invoice(connection, an_invoice(scope, number="A-1"))


def test_lists(ledger: Ledger, scope: int) -> None:
    subscribe(ledger, scope, "sub_1")
    made = [
        an_invoice(scope),
        an_invoice(scope, "cus_2", status="void", created=NOW),
        an_invoice(scope, subscription="sub_1", status="open", due_date=NOW + 5),
        an_invoice(scope, collection="send_invoice", due_date=NOW),
    ]
    put(ledger, *made)

    def found(**wanted: Any) -> list[int]:
        with ledger.read() as connection:
            page = list_invoices(connection, scope, PageParams(), Filter(**wanted))
        assert page is not None
        return [made.index(one) for one in page[0]]

    assert found() == [3, 2, 1, 0]
    assert found(customer="cus_2") == [1]
    assert found(subscription="sub_1") == [2]
    assert found(status="draft") == [3, 0]
    assert found(collection="send_invoice") == [3]
    assert found(created=(NOW, None)) == [1]
    assert found(due_date=(NOW, NOW + 5)) == [3]
    with ledger.read() as connection:
        page = PageParams(starting_after="in_nope")
        assert list_invoices(connection, scope, page, Filter()) is None


def test_what_is_due(ledger: Ledger, scope: int) -> None:
    """A draft that is finalized of itself is due, and an open invoice that is not paid in time."""
    made = [
        an_invoice(scope, finalizes_at=NOW),
        an_invoice(scope, finalizes_at=NOW - 1),
        an_invoice(scope, finalizes_at=NOW + 1),
        an_invoice(scope, finalizes_at=NOW, test_clock="clock_1"),
        an_invoice(scope),
        an_invoice(scope, status="open", due_date=NOW - 2, finalized_at=1),
        an_invoice(scope, status="open", due_date=NOW - 2, finalized_at=1, overdue_told=True),
        an_invoice(scope, status="paid", due_date=NOW - 2, finalized_at=1),
        an_invoice(scope, due_date=NOW - 2),
    ]
    put(ledger, *made)

    def found(clock: str | None, rows_max: int = 10) -> list[int]:
        with ledger.read() as connection:
            return [made.index(one) for one in due(connection, clock, NOW, rows_max)]

    assert found(None) == [5, 1, 0]
    assert found(None, 2) == [5, 1]
    assert found("clock_1") == [3]


USAGE = {"usage_in": NOVEMBER, "price": "price_1", "subscription_item": "si_1"}


@pytest.mark.parametrize("changes", [{}, USAGE], ids=["plain", "usage"])
def test_an_item_comes_back_as_it_was_stored(
    ledger: Ledger, scope: int, changes: dict[str, Any]
) -> None:
    item = an_item(scope, metadata={"a": "b"}, quantity=Decimal("0.5"), **changes)
    with ledger.write() as connection:
        create_item(connection, item)
    with ledger.write() as connection:
        assert find_item(connection, scope, item.id, lock=True) == item
        assert find_item(connection, scope + 1, item.id) is None
        assert by_ids(connection, [item.id, "ii_nope"]) == {item.id: item}
        changed = msgspec.structs.replace(item, amount=-7, period=Period(1, 2))
        update_item(connection, changed)
        assert find_item(connection, scope, item.id) == changed
        delete_item(connection, item.id)
        assert find_item(connection, scope, item.id) is None


def test_pending_items_go_onto_one_invoice(ledger: Ledger, scope: int) -> None:
    subscribe(ledger, scope, "sub_1", "sub_2")
    loose, ours, theirs = (an_item(scope, subscription=one) for one in (None, "sub_1", "sub_2"))
    other = an_item(scope, "cus_2")
    invoice, later = an_invoice(scope), an_invoice(scope)
    put(ledger, invoice, later)
    with ledger.write() as connection:
        for item in (loose, ours, theirs, other):
            create_item(connection, item)
        assert pending(connection, "cus_1", "sub_1") == [ours, loose]
        assert pending(connection, "cus_1", None) == [theirs, ours, loose]
        assign(connection, [(loose.id, invoice.id), (ours.id, invoice.id)])
        assign(connection, [])
        assert pending(connection, "cus_1", None) == [theirs]
        assert [item.id for item in on_invoice(connection, invoice.id)] == [ours.id, loose.id]
        with pytest.raises(ValueError, match="on another"):
            assign(connection, [(theirs.id, later.id), (ours.id, later.id)])


def test_lists_of_items(ledger: Ledger, scope: int) -> None:
    invoice = an_invoice(scope)
    put(ledger, invoice)
    made = [
        an_item(scope),
        an_item(scope, "cus_2", created=NOW + 1),
        an_item(scope, invoice=invoice.id),
    ]
    with ledger.write() as connection:
        for item in made:
            create_item(connection, item)

    def found(**wanted: Any) -> list[int]:
        with ledger.read() as connection:
            page = list_items(connection, scope, PageParams(), ItemFilter(**wanted))
        assert page is not None
        return [made.index(one) for one in page[0]]

    assert found() == [2, 1, 0]
    assert found(customer="cus_1") == [2, 0]
    assert found(invoice=invoice.id) == [2]
    assert found(pending=True) == [1, 0]
    assert found(pending=False) == [2]
    assert found(created=(None, NOW + 1)) == [2, 0]
    with ledger.read() as connection:
        assert list_items(connection, scope, PageParams(ending_before="x"), ItemFilter()) is None
