"""What becomes of an invoice: finalized, paid, void, written off, sent.

https://docs.stripe.com/api/invoices/finalize. No money moves here: an invoice is paid where nothing
is to be paid, or where somebody says that it was paid elsewhere.
"""

from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from meterhouse.api import invoice as common
from meterhouse.api.call import Answer, Call
from meterhouse.billing.invoice import Invoice
from meterhouse.errors import Refusal
from meterhouse.invoicing import finalize as becoming
from meterhouse.invoicing.bill import Stored
from meterhouse.invoicing.posting import Posting, posted
from meterhouse.invoicing.recover import recover
from meterhouse.invoicing.tell import tell
from meterhouse.invoicing.turn import Terms, finalize_for
from meterhouse.ledger.announce import Cause
from meterhouse.wire import invoice_errors
from meterhouse.wire.expand import check_expand
from meterhouse.wire.params import RequestParams

Becomes = Callable[[Posting, Cause, Invoice, int], Invoice]


class Finalize(RequestParams):
    """The parameters of a finalization."""

    auto_advance: bool | None = None


class Pay(RequestParams):
    """The parameters of a payment; what it would be charged to counts for nothing."""

    forgive: bool | None = None
    mandate: str | None = None
    off_session: bool | None = None
    paid_out_of_band: bool = False
    payment_method: str | None = None
    source: str | None = None


async def finalize(call: Call) -> Answer:
    """Finalize a draft: it is open then, or paid where nothing is to be paid."""
    params = call.params(Finalize)
    check_expand(params.expand, common.EXPANDABLE)

    def work(connection: sa.Connection, before: Stored, now: int) -> Stored:
        if before.invoice.status != "draft":
            raise invoice_errors.already_finalized()
        return _finalized(connection, call, before, now, params.auto_advance)

    return await common.change(call, work, params.expand, settled=True)


async def pay(call: Call) -> Answer:
    """Settle an invoice that was paid elsewhere; a draft is finalized first."""
    params = call.params(Pay)
    check_expand(params.expand, common.EXPANDABLE)

    def work(connection: sa.Connection, before: Stored, now: int) -> Stored:
        if before.invoice.status == "draft":
            before = _finalized(connection, call, before, now, None)
            if before.invoice.status == "paid":
                return before
        refusal = _not_payable(before.invoice)
        if refusal is not None:
            raise refusal
        if not params.paid_out_of_band and before.invoice.amount_due > 0:
            raise invoice_errors.no_payment()
        return _become(connection, call, before, now, "paid", becoming.pay)

    return await common.change(call, work, params.expand, settled=True)


async def void(call: Call) -> Answer:
    """Declare an invoice void."""
    return await _changed(call, _not_voidable, "voided", becoming.void)


async def mark_uncollectible(call: Call) -> Answer:
    """Write an invoice off."""
    return await _changed(call, _not_markable, "marked_uncollectible", becoming.mark_uncollectible)


async def send(call: Call) -> Answer:
    """Tell that an invoice is sent, which whoever listens to it may do; a draft is finalized."""
    params = call.params(RequestParams)
    check_expand(params.expand, common.EXPANDABLE)

    def work(connection: sa.Connection, before: Stored, now: int) -> Stored:
        if before.invoice.status in ("paid", "void"):
            raise invoice_errors.not_sendable()
        if before.invoice.collection != "send_invoice":
            raise invoice_errors.charged_not_sent()
        if before.invoice.status == "draft":
            before = _finalized(connection, call, before, now, auto_advance=False)
        if before.invoice.status in ("open", "uncollectible"):
            tell(connection, call.cause, "sent", before.invoice, before.lines)
        call.note(connection, "invoice.sent", before.invoice.id)
        return before

    return await common.change(call, work, params.expand, settled=True, param="invoice")


async def _changed(
    call: Call, wrong: Callable[[Invoice], Refusal | None], what: str, becomes: Becomes
) -> Answer:
    params = call.params(RequestParams)
    check_expand(params.expand, common.EXPANDABLE)

    def work(connection: sa.Connection, before: Stored, now: int) -> Stored:
        refusal = wrong(before.invoice)
        if refusal is not None:
            raise refusal
        return _become(connection, call, before, now, what, becomes)

    return await common.change(call, work, params.expand)


def _finalized(
    connection: sa.Connection, call: Call, before: Stored, now: int, auto_advance: bool | None
) -> Stored:
    invoice = before.invoice
    if auto_advance is not None:
        invoice = msgspec.structs.replace(invoice, auto_advance=auto_advance)
    subscription = common.subscription_of(connection, invoice)
    with posted(connection) as posting:
        after = finalize_for(
            posting, call.cause, subscription, invoice, before.lines, before.segments, now
        )
    call.note(connection, "invoice.finalized", after.id)
    return before._replace(invoice=after)


def _become(
    connection: sa.Connection,
    call: Call,
    before: Stored,
    now: int,
    what: str,
    becomes: Becomes,
) -> Stored:
    with posted(connection) as posting:
        after = becomes(posting, call.cause, before.invoice, now)
    call.note(connection, f"invoice.{what}", after.id)
    subscription = common.subscription_of(connection, after)
    if subscription is not None:
        recover(connection, call.cause, subscription, Terms.of(call.services.config))
    return before._replace(invoice=after)


def _not_payable(invoice: Invoice) -> Refusal | None:
    if invoice.status == "paid":
        return invoice_errors.already_paid()
    return invoice_errors.not_open() if invoice.status == "void" else None


def _not_voidable(invoice: Invoice) -> Refusal | None:
    if invoice.status == "paid":
        return invoice_errors.paid_not_voidable()
    return None if invoice.status in ("open", "uncollectible") else invoice_errors.not_open()


def _not_markable(invoice: Invoice) -> Refusal | None:
    if invoice.status == "uncollectible":
        return invoice_errors.already_uncollectible()
    return None if invoice.status == "open" else invoice_errors.not_open()
