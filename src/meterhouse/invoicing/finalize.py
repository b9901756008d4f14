"""What becomes of an invoice: it is finalized, and then paid, written off, or void.

```
draft --finalize--> open --pay--> paid          open --void--> void
draft --finalize, nothing to pay--> paid        open --mark_uncollectible--> uncollectible
                                                uncollectible --pay, void--> paid, void
```

What a reader may rely on:

- Whether a change is in order is the caller's to know: it has the invoice locked, which it has read
  with its customer by `invoices.find_invoice(…, lock=True)`.
- The invoices of a customer are numbered one after the other, without a gap: the next number is the
  customer's, who is locked.
- What was billed before and has become less by now is credited to the customer first, where it is
  to be (`Segment.late`).
- What a customer has to its credit, or owes from before, goes into the first invoice that is
  finalized in its currency; what is left of a credit stays with the customer. An invoice that is
  voided gives back what it took.
- Each change announces what it is, in the order of `docs/compatibility.md`.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from meterhouse.billing.bill import credited, totalled
from meterhouse.billing.invoice import Invoice, Line, Segment
from meterhouse.invoicing.create import check_amounts, showing
from meterhouse.invoicing.page import with_page
from meterhouse.invoicing.tell import tell
from meterhouse.ledger import invoice_lines, invoice_segments, invoices
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.customers import Customer, find_customer, update_customer

_NUMBER = "{prefix}-{sequence:04d}"


def finalize(
    connection: sa.Connection,
    cause: Cause,
    invoice: Invoice,
    lines: Sequence[Line],
    segments: Sequence[Segment],
    now: int,
) -> Invoice:
    """Finalize a draft with its lines and segments as they were counted last, for good.

    It is open then, or paid where nothing is to be paid.
    """
    check_amounts(lines)
    before = invoice, invoice_lines.lines_of(connection, (invoice.id,))[invoice.id]
    invoice_lines.put_lines(connection, invoice.scope, invoice.id, lines)
    invoice_segments.put_segments(connection, invoice.scope, invoice.id, segments)
    _credit(connection, invoice, segments)
    invoice = totalled(invoice, lines)
    tell(connection, cause, "updated", invoice, lines, before)
    invoice = _opened(connection, cause, invoice, now)
    tell(connection, cause, "finalized", invoice, lines)
    if invoice.amount_due == 0:
        return _paid(connection, cause, msgspec.structs.replace(invoice, attempted=True), now)
    if invoice.collection == "send_invoice" and invoice.auto_advance:
        tell(connection, cause, "sent", invoice, lines)
    return invoice


def pay(connection: sa.Connection, cause: Cause, invoice: Invoice, now: int) -> Invoice:
    """Settle an open or uncollectible invoice, because it was paid elsewhere."""
    due = invoice.amount_due
    settled = msgspec.structs.replace(invoice, amount_paid=due, amount_paid_off_stripe=due)
    return _paid(connection, cause, settled, now)


def void(connection: sa.Connection, cause: Cause, invoice: Invoice, now: int) -> Invoice:
    """Declare an open or uncollectible invoice void, and give back what it took of the balance."""
    taken = (invoice.ending_balance or 0) - invoice.starting_balance
    customer = _customer(connection, invoice)
    if taken and _in_its_currency(invoice, customer):
        restored = msgspec.structs.replace(customer, balance=customer.balance - taken)
        update_customer(connection, restored)
    voided = msgspec.structs.replace(invoice, status="void", voided_at=now, auto_advance=False)
    return _stored(connection, cause, voided, "voided")


def mark_uncollectible(
    connection: sa.Connection, cause: Cause, invoice: Invoice, now: int
) -> Invoice:
    """Write an open invoice off."""
    marked = msgspec.structs.replace(
        invoice, status="uncollectible", marked_uncollectible_at=now, auto_advance=False
    )
    return _stored(connection, cause, marked, "marked_uncollectible")


def _credit(connection: sa.Connection, invoice: Invoice, segments: Sequence[Segment]) -> None:
    """Give back to the customer what earlier invoices have charged too much."""
    owed = credited(segments)
    if owed:
        customer = _customer(connection, invoice)
        richer = msgspec.structs.replace(customer, balance=customer.balance + owed)
        update_customer(connection, richer)


def _opened(connection: sa.Connection, cause: Cause, invoice: Invoice, now: int) -> Invoice:
    """Store an invoice as open, with a number, and settled with its customer's balance."""
    customer = _customer(connection, invoice)
    invoice = with_page(cause, showing(connection, invoice, customer))
    number, sequence = _next_number(connection, invoice, customer)
    own = _in_its_currency(invoice, customer)
    balance = customer.balance if own else 0
    owed = invoice.total + balance
    left = min(owed, 0)
    opened = msgspec.structs.replace(
        invoice,
        status="open",
        number=number,
        amount_due=max(owed, 0),
        starting_balance=balance,
        ending_balance=left,
        finalized_at=now,
        finalizes_at=None,
    )
    billed = msgspec.structs.replace(
        customer,
        balance=left if own else customer.balance,
        currency=customer.currency or invoice.currency,
        next_invoice_sequence=sequence,
    )
    update_customer(connection, billed)
    return invoices.update_invoice(connection, opened)


def _in_its_currency(invoice: Invoice, customer: Customer) -> bool:
    """Tell whether an invoice is in the currency of its customer's balance."""
    return customer.currency in (None, invoice.currency)


def _next_number(
    connection: sa.Connection, invoice: Invoice, customer: Customer
) -> tuple[str, int]:
    """Return the number of an invoice, and the place of the customer's next one.

    One that was given a number by hand keeps it, and takes no place; a number that was given to
    another by hand is passed over.
    """
    sequence = customer.next_invoice_sequence
    if invoice.number is not None:
        return invoice.number, sequence
    number = _NUMBER.format(prefix=customer.prefix, sequence=sequence)
    while invoices.has_number(connection, customer.id, number):
        sequence += 1
        number = _NUMBER.format(prefix=customer.prefix, sequence=sequence)
    return number, sequence + 1


def _customer(connection: sa.Connection, invoice: Invoice) -> Customer:
    customer = find_customer(connection, invoice.scope, invoice.customer, lock=True)
    if customer is None:
        raise ValueError(f"The invoice '{invoice.id}' is nobody's.")
    return customer


def _paid(connection: sa.Connection, cause: Cause, invoice: Invoice, now: int) -> Invoice:
    paid = msgspec.structs.replace(invoice, status="paid", paid_at=now, auto_advance=False)
    return _stored(connection, cause, paid, "paid", "payment_succeeded")


def _stored(connection: sa.Connection, cause: Cause, invoice: Invoice, *told: str) -> Invoice:
    stored = invoices.update_invoice(connection, invoice)
    lines = invoice_lines.lines_of(connection, (stored.id,))[stored.id]
    for what in told:
        tell(connection, cause, what, stored, lines)
    return stored
