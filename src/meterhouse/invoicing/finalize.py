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
  voided gives back what it took. Drafts that take off what it billed early are counted anew.
- Credits pay for usage before the balance does (`invoicing.credit`).
  voided gives back what it took. Drafts that take off what it billed early are counted anew.
- Each change announces what it is, in the order of `docs/compatibility.md`.
"""

from collections.abc import Collection, Sequence

import msgspec

from meterhouse.billing.bill import credited, totalled
from meterhouse.billing.credit import with_credits
from meterhouse.billing.invoice import Invoice, Line, Segment
from meterhouse.invoicing.create import check_amounts, showing
from meterhouse.invoicing.credit import apply_credits, return_credits
from meterhouse.invoicing.page import with_page
from meterhouse.invoicing.posting import Posting
from meterhouse.invoicing.tell import told
from meterhouse.ledger import invoices
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.customers import Customer

_NUMBER = "{prefix}-{sequence:04d}"


def expect(posting: Posting, drafts: Collection[Invoice]) -> None:
    """Read at once what finalizing each of some drafts asks for."""
    posting.expect_lines([one.id for one in drafts])
    posting.expect_grants({one.customer for one in drafts})
    numbers: set[tuple[str, str]] = set()
    for one in drafts:
        customer = posting.held(one)
        numbers.add((customer.id, _number(customer, customer.next_invoice_sequence)))
    posting.expect_numbers(numbers)


def finalize(
    posting: Posting,
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
    lines = with_credits(lines, {})  # what was only expected of them
    before = invoice, posting.lines(invoice.id)
    _credit(posting, invoice, segments)
    posting.tell(told(cause, "updated", totalled(invoice, lines), lines, before))
    lines = apply_credits(posting, cause, invoice, lines, now)
    posting.put_lines(invoice, lines, segments)
    invoice = totalled(invoice, lines)
    invoice = _opened(posting, cause, invoice, now)
    posting.tell(told(cause, "finalized", invoice, lines))
    if invoice.amount_due == 0:
        return _paid(posting, cause, msgspec.structs.replace(invoice, attempted=True), now)
    if invoice.collection == "send_invoice" and invoice.auto_advance:
        posting.tell(told(cause, "sent", invoice, lines))
    return invoice


def pay(posting: Posting, cause: Cause, invoice: Invoice, now: int) -> Invoice:
    """Settle an open or uncollectible invoice, because it was paid elsewhere."""
    due = invoice.amount_due
    settled = msgspec.structs.replace(invoice, amount_paid=due, amount_paid_off_stripe=due)
    return _paid(posting, cause, settled, now)


def void(posting: Posting, cause: Cause, invoice: Invoice, now: int) -> Invoice:
    """Declare an open or uncollectible invoice void, and give back what it took.

    That is of the customer's balance, and of credits.
    """
    taken = (invoice.ending_balance or 0) - invoice.starting_balance
    customer = posting.held(invoice)
    if taken and _in_its_currency(invoice, customer):
        restored = msgspec.structs.replace(customer, balance=customer.balance - taken)
        posting.update_account(restored)
    return_credits(posting, cause, invoice, now)
    if invoice.reason == "subscription_threshold" and invoice.subscription is not None:
        invoices.revise_drafts(posting.connection, invoice.subscription)
    voided = msgspec.structs.replace(invoice, status="void", voided_at=now, auto_advance=False)
    return _stored(posting, cause, voided, "voided")


def mark_uncollectible(posting: Posting, cause: Cause, invoice: Invoice, now: int) -> Invoice:
    """Write an open invoice off."""
    marked = msgspec.structs.replace(
        invoice, status="uncollectible", marked_uncollectible_at=now, auto_advance=False
    )
    return _stored(posting, cause, marked, "marked_uncollectible")


def _credit(posting: Posting, invoice: Invoice, segments: Sequence[Segment]) -> None:
    """Give back to the customer what earlier invoices have charged too much."""
    owed = credited(segments)
    if owed:
        customer = posting.held(invoice)
        posting.update_account(msgspec.structs.replace(customer, balance=customer.balance + owed))


def _opened(posting: Posting, cause: Cause, invoice: Invoice, now: int) -> Invoice:
    """Store an invoice as open, with a number, and settled with its customer's balance."""
    customer = posting.held(invoice)
    invoice = with_page(cause, showing(posting, invoice, customer))
    number, sequence = _next_number(posting, invoice, customer)
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
    posting.update_account(billed)
    return posting.update_invoice(opened)


def _in_its_currency(invoice: Invoice, customer: Customer) -> bool:
    """Tell whether an invoice is in the currency of its customer's balance."""
    return customer.currency in (None, invoice.currency)


def _next_number(posting: Posting, invoice: Invoice, customer: Customer) -> tuple[str, int]:
    """Return the number of an invoice, and the place of the customer's next one.

    One that was given a number by hand keeps it, and takes no place; a number that was given to
    another by hand is passed over.
    """
    sequence = customer.next_invoice_sequence
    if invoice.number is not None:
        return invoice.number, sequence
    while posting.is_taken(customer.id, _number(customer, sequence)):
        sequence += 1
    return _number(customer, sequence), sequence + 1


def _number(customer: Customer, sequence: int) -> str:
    return _NUMBER.format(prefix=customer.prefix, sequence=sequence)


def _paid(posting: Posting, cause: Cause, invoice: Invoice, now: int) -> Invoice:
    paid = msgspec.structs.replace(invoice, status="paid", paid_at=now, auto_advance=False)
    return _stored(posting, cause, paid, "paid", "payment_succeeded")


def _stored(posting: Posting, cause: Cause, invoice: Invoice, *events: str) -> Invoice:
    stored = posting.update_invoice(invoice)
    for what in events:
        posting.tell(told(cause, what, stored, posting.lines(stored.id)))
    return stored
