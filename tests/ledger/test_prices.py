from meterhouse.ledger import invoice_items, invoice_segments, invoices, prices
from meterhouse.ledger.engine import Ledger
from tests.invoicing.samples import a_segment, an_invoice, an_item, scope_of_tests, stock


def test_whether_somebody_is_billed_by_a_price(ledger: Ledger) -> None:
    """By usage that waits, or that is on an invoice."""
    scope = scope_of_tests(ledger).id
    stock(ledger, scope)
    with ledger.write() as connection:
        assert not prices.is_billed(connection, "price_1")
        item = an_item(scope, price="price_1")
        invoice_items.create_item(connection, an_item(scope))
        invoice_items.create_item(connection, item)
        assert prices.is_billed(connection, "price_1")
        assert not prices.is_billed(connection, "price_2")
        invoice_items.delete_item(connection, item.id)
        assert not prices.is_billed(connection, "price_1")
        invoice = an_invoice(scope)
        invoices.create_invoice(connection, invoice)
        invoice_segments.put_segments(connection, scope, invoice.id, [a_segment()])
        assert prices.is_billed(connection, "price_1")
