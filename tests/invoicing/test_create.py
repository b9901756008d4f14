from typing import Any

import pytest

from meterhouse.billing.invoice import Invoice
from meterhouse.invoicing.create import create_invoice
from meterhouse.invoicing.posting import posted
from meterhouse.ledger import invoice_items, invoice_lines, invoice_segments, invoices
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.engine import Ledger
from meterhouse.metering.model import Scope
from tests.invoicing.samples import (
    NOW,
    a_line,
    a_segment,
    an_invoice,
    an_item,
    events_of,
    scope_of_tests,
    stock,
)


@pytest.fixture
def scope(ledger: Ledger) -> Scope:
    scope = scope_of_tests(ledger)
    details = {
        "name": "Ada",
        "phone": "1",
        "address": {"city": "London"},
        "invoice_settings": {"footer": "f", "custom_fields": [{"name": "PO", "value": "7"}]},
    }
    stock(ledger, scope.id, details=details)
    return scope


def test_a_new_invoice_is_stored_and_announced(ledger: Ledger, scope: Scope) -> None:
    lines, segments = [a_line(112), a_line(-12)], [a_segment()]
    with ledger.write() as connection, posted(connection) as posting:
        invoice = create_invoice(posting, Cause(scope, NOW), an_invoice(scope.id), lines, segments)
    assert (invoice.subtotal, invoice.total, invoice.amount_due) == (100, 100, 100)
    with ledger.read() as connection:
        assert invoices.find_invoice(connection, scope.id, invoice.id) == invoice
        assert invoice_lines.lines_of(connection, [invoice.id]) == {invoice.id: lines}
        assert invoice_segments.segments_of(connection, [invoice.id]) == {invoice.id: segments}
    (event,) = events_of(ledger, scope)
    shown = event["data"]["object"]
    assert (event["type"], shown["id"], shown["total"]) == ("invoice.created", invoice.id, 100)
    assert [line["amount"] for line in shown["lines"]["data"]] == [112, -12]
    assert (shown["customer_name"], shown["customer_email"]) == ("Ada", "ada@example.com")
    assert shown["customer_address"] == {"city": "London"}
    assert (shown["footer"], shown["custom_fields"]) == ("f", [{"name": "PO", "value": "7"}])


def test_what_the_invoice_itself_says_comes_first(ledger: Ledger, scope: Scope) -> None:
    given = an_invoice(scope.id, footer="own", details={"custom_fields": []})
    with ledger.write() as connection, posted(connection) as posting:
        invoice = create_invoice(posting, Cause(scope, NOW), given, [], [])
    assert (invoice.footer, invoice.details["custom_fields"]) == ("own", [])


def test_less_than_nothing_is_not_due(ledger: Ledger, scope: Scope) -> None:
    with ledger.write() as connection, posted(connection) as posting:
        cause = Cause(scope, NOW)
        invoice = create_invoice(posting, cause, an_invoice(scope.id), [a_line(-5)], [])
    assert (invoice.total, invoice.amount_due) == (-5, 0)


@pytest.mark.parametrize("as_usage", [True, False])
def test_pending_items_are_billed_once(ledger: Ledger, scope: Scope, as_usage: bool) -> None:
    item, later = an_item(scope.id), an_item(scope.id)
    billed: dict[str, Any] = {"invoice_item": item.id}
    lines, segments = [a_line(**billed)], [a_segment(**billed)]
    parts = ([], segments) if as_usage else (lines, [])
    with ledger.write() as connection:
        invoice_items.create_item(connection, item)
        invoice_items.create_item(connection, later)
        invoice = _create(connection, scope, parts)
        assert invoice_items.pending(connection, "cus_1", None) == [later]
        found = invoice_items.find_item(connection, scope.id, item.id)
        assert found is not None
        assert found.invoice == invoice.id
        with pytest.raises(ValueError, match="on another"):
            _create(connection, scope, parts)


def _create(connection: Any, scope: Scope, parts: Any) -> Invoice:
    with posted(connection) as posting:
        return create_invoice(posting, Cause(scope, NOW), an_invoice(scope.id), *parts)
