"""What invoices come to, by month and by meter; an invoice is a row of the table."""

from typing import Any

import msgspec
import pytest

from meterhouse.ledger import invoice_lines, invoice_segments, invoices
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.meters import create_meter
from meterhouse.ledger.revenue import Revenue, revenue
from meterhouse.metering.window import Window
from tests.dashboard.samples import at
from tests.invoicing.samples import (
    a_line,
    a_meter,
    a_segment,
    an_invoice,
    scope_of_tests,
    stock,
)

OCTOBER = Window(at("2026-10-01"), at("2026-11-01"))
NOVEMBER = Window(OCTOBER.end, at("2026-12-01"))


@pytest.fixture
def scope(ledger: Ledger) -> int:
    scope = scope_of_tests(ledger).id
    stock(ledger, scope)
    stock(ledger, scope, "cus_2", email="bob@example.com")
    with ledger.write() as connection:
        create_meter(
            connection, msgspec.structs.replace(a_meter(scope), id="mtr_2", event_name="calls")
        )
    return scope


def put(
    ledger: Ledger,
    scope: int,
    finalized: str,
    *amounts: tuple[str | None, int],
    customer: str = "cus_1",
    **changes: Any,
) -> None:
    """Store an invoice with a line for each meter (or none) and amount."""
    done = {"status": "open", "finalized_at": at(finalized) if finalized else None} | changes
    invoice = an_invoice(scope, customer)
    lines, segments = [], []
    for place, (meter, amount) in enumerate(amounts):
        lines.append(a_line(amount, segment=None if meter is None else place))
        if meter is not None:
            segments.append(a_segment(place, meter=meter, amount=amount))
    with ledger.write() as connection:
        invoices.create_invoice(connection, invoice)
        invoice_lines.put_lines(connection, scope, invoice.id, lines)
        invoice_segments.put_segments(connection, scope, invoice.id, segments)
        invoices.update_invoice(connection, msgspec.structs.replace(invoice, **done))


def test_lines_add_up_by_month_meter_and_currency(ledger: Ledger, scope: int) -> None:
    put(ledger, scope, "2026-10-01", ("mtr_1", 900), ("mtr_1", 112), ("mtr_2", 7), (None, 10_000))
    put(ledger, scope, "2026-10-31T23:59:59", ("mtr_1", 100), customer="cus_2", status="paid")
    put(ledger, scope, "2026-11-01", ("mtr_1", 5), ("mtr_1", -2), currency="jpy")
    put(ledger, scope, "2026-11-02", ("mtr_1", 50), status="uncollectible")
    put(ledger, scope, "2026-11-02", ("mtr_1", 9_999), status="void")
    put(ledger, scope, "2026-12-01", ("mtr_1", 9_999))
    put(ledger, scope, "2026-09-30T23:59:59", ("mtr_1", 9_999))
    put(ledger, scope, "", ("mtr_1", 9_999), status="draft")
    with ledger.read() as connection:
        rows = revenue(connection, scope, [OCTOBER, NOVEMBER])
        assert rows == [
            Revenue(OCTOBER, None, "usd", 10_000, 1),
            Revenue(OCTOBER, "mtr_1", "usd", 1_112, 2),
            Revenue(OCTOBER, "mtr_2", "usd", 7, 1),
            Revenue(NOVEMBER, "mtr_1", "jpy", 3, 1),
            Revenue(NOVEMBER, "mtr_1", "usd", 50, 1),
        ]
        assert revenue(connection, scope, [OCTOBER, NOVEMBER], "cus_2") == [
            Revenue(OCTOBER, "mtr_1", "usd", 100, 1)
        ]
        assert revenue(connection, scope + 1, [OCTOBER, NOVEMBER]) == []


def test_large_amounts_stay_whole(ledger: Ledger, scope: int) -> None:
    most = 999_999_999_999
    for _ in range(3):
        put(ledger, scope, "2026-10-05", ("mtr_1", most), (None, most))
    with ledger.read() as connection:
        rows = revenue(connection, scope, [OCTOBER])
    assert [(row.amount, type(row.amount)) for row in rows] == [(3 * most, int)] * 2
