"""Invoices: what requests about them have in common.

What a reader may rely on:

- A draft is shown as usage makes it now; nothing is stored for that.
- A change is made of the invoice as it is, locked together with its clock and its customer, and of
  lines that were counted for it: where it has changed in the meantime, they are counted again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.catalog import shown_prices
from meterhouse.api.credit_shown import grants_shown, transactions_shown
from meterhouse.api.once import once
from meterhouse.api.subscription import clocks_shown, customers_shown, invoices_shown
from meterhouse.api.subscription import shown as shown_subscriptions
from meterhouse.billing.bill import totalled
from meterhouse.billing.credit import with_credits
from meterhouse.billing.invoice import Invoice, Line, Segment
from meterhouse.billing.price import Price
from meterhouse.billing.subscription import Subscription
from meterhouse.errors import OutdatedError
from meterhouse.invoicing.bill import Stored
from meterhouse.invoicing.credit import simulated_of
from meterhouse.invoicing.present import present
from meterhouse.invoicing.recount import recounted
from meterhouse.invoicing.tell import tell
from meterhouse.ledger import (
    customers,
    holdups,
    invoice_lines,
    invoice_segments,
    invoices,
    prices,
    subscriptions,
)
from meterhouse.ledger.customers import Customer
from meterhouse.render.invoice import render_finalization_error, render_invoice
from meterhouse.wire import envelope, invoice_errors
from meterhouse.wire.expand import expanded
from meterhouse.wire.page import list_object
from meterhouse.wire.version import BASIL

DEFAULT_CURRENCY = "usd"  # of whom nothing else is known

# Members that can be expanded; of most there is nothing to show.
EXPANDABLE = frozenset(
    {
        "account_tax_ids",
        "application",
        "charge",
        "confirmation_secret",
        "customer",
        "default_payment_method",
        "default_source",
        "default_tax_rates",
        "discounts",
        "from_invoice",
        "latest_revision",
        "lines",
        "on_behalf_of",
        "parent",
        "payment_intent",
        "payments",
        "quote",
        "subscription",
        "test_clock",
        "threshold_reason",
        "total_discount_amounts",
        "total_pretax_credit_amounts",
        "total_taxes",
    }
)
EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in EXPANDABLE)
_PARENT = "parent.subscription_details.subscription"
_TRANSACTION = "credit_balance_transaction"
PRICE = "pricing.price_details.price"  # of a line, and of an invoice item

# What becomes of an invoice in a transaction, at the instant of its time: how it is to be shown.
Change = Callable[[sa.Connection, Stored, int], Stored]


async def change(
    call: Call,
    work: Change,
    expand: Sequence[str] = (),
    *,
    settled: bool = False,
    param: str = "id",
) -> Answer:
    """Answer with what `work` makes of the invoice in the path; the rest is as for `locked`."""

    def answer(connection: sa.Connection, before: Stored, now: int) -> Answer:
        made = work(connection, before, now)
        return ok(shown(connection, call, [made], expand)[0])

    return await locked(call, answer, settled=settled, param=param)


async def locked(
    call: Call,
    work: Callable[[sa.Connection, Stored, int], Answer],
    *,
    settled: bool = False,
    param: str = "id",
) -> Answer:
    """Answer as `work` does, at the present of the invoice in the path, which it has to itself.

    With `settled`, whatever was acknowledged before is counted: refuses while that takes too long.
    `param` is what Stripe calls an id that no invoice has.
    """

    def run(connection: sa.Connection, counted: Stored | None) -> Answer:
        if counted is None:
            raise invoice_errors.no_such_invoice(call.ids[0], param)
        scope, invoice_id = call.scope.id, counted.invoice.id
        _, now = lock_time(connection, call, counted.invoice.customer)
        subscription_of(connection, counted.invoice)
        invoice = invoices.find_invoice(connection, scope, invoice_id, lock=True)
        if invoice is None:
            raise invoice_errors.no_such_invoice(invoice_id, param)
        if invoice.revision != counted.invoice.revision:
            raise OutdatedError
        return work(connection, counted._replace(invoice=invoice), now)

    for _ in range(limits.INVOICE_COUNT_ATTEMPTS):
        counted = await _counted(call, settled=settled)
        try:
            return await once(call, partial(run, counted=counted))
        except OutdatedError:
            continue
    raise envelope.lock_timeout()


async def find(call: Call, param: str = "id") -> Stored:
    """Return the invoice in the path, as usage makes it now."""
    invoice = await call.read(invoices.find_invoice, call.scope.id, call.ids[0])
    if invoice is None:
        raise invoice_errors.no_such_invoice(call.ids[0], param)
    return (await current(call, [invoice]))[0]


async def current(call: Call, found: Sequence[Invoice]) -> list[Stored]:
    """Return invoices with their lines and segments, each draft as usage makes it now."""
    if any(invoice.status == "draft" for invoice in found):
        await call.services.progress.reach(strong=call.strong)
    return await recounted(call, call.scope, found, call.now)


def shown(
    connection: sa.Connection,
    call: Call,
    rows: Sequence[Stored],
    expand: Iterable[str],
    *,
    listed: bool = False,
) -> list[dict[str, Any]]:
    """Return invoices as the request's version shows them, with what it wants expanded."""
    paths = {path.removeprefix("data.") if listed else path for path in expand}
    wanted = expanded(paths)
    livemode = call.scope.livemode
    named = {line.price for row in rows for line in row.lines if line.price is not None}
    known = prices_shown(connection, call, named)
    drafts = [row.invoice.id for row in rows if row.invoice.status == "draft"]
    held_up = holdups.of_objects(connection, drafts)
    documents = []
    for row in rows:
        invoice = _as_counted(row)
        document = render_invoice(
            invoice, row.lines, livemode=livemode, version=call.version, prices=known
        )
        held = held_up.get(invoice.id)
        if held is not None:
            error = render_finalization_error(held.code, held.message)
            document["last_finalization_error"] = error
        _fill(call, document, wanted)
        documents.append(document)
    expand_all(connection, call, documents, paths)
    return documents


async def shown_now(
    call: Call, ids: Collection[str], expand: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Return invoices as they are shown, by their ids, each draft as usage makes it now."""
    found = await current(call, await call.read(_found, call, ids))
    documents = await call.read(shown, call, found, expand)
    return {document["id"]: document for document in documents}


def expand_all(
    connection: sa.Connection,
    call: Call,
    documents: Sequence[dict[str, Any]],
    paths: Collection[str],
) -> None:
    """Show what there is of invoices in the places of its ids, as far as `paths` lead to it."""
    expand_members(connection, call, documents, expanded(paths))
    expand_credits(connection, call, documents, paths, "total_pretax_credit_amounts")
    if _lead_to(paths, _PARENT):
        parents = [document["parent"] for document in documents if document.get("parent")]
        details = [one for parent in parents if (one := parent["subscription_details"])]
        expand_members(connection, call, details, {"subscription"})


def expand_members(
    connection: sa.Connection,
    call: Call,
    documents: Sequence[dict[str, Any]],
    wanted: Collection[str],
    drafts: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Show what members name in the places of their ids, where it is wanted.

    Invoices are shown as they are stored, unless they are among `drafts`.
    """
    for name, read in _MEMBERS.items():
        ids = {document[name] for document in documents if document.get(name)}
        if name in wanted and ids:
            found = read(connection, call, ids)
            if name == "invoice":
                found |= drafts or {}
            for document in documents:
                if document.get(name) in found:
                    document[name] = found[document[name]]


def prices_shown(connection: sa.Connection, call: Call, named: set[str]) -> dict[str, Price]:
    """Return those of the named prices that the request's version shows within something else."""
    if call.version.date >= BASIL or not named:
        return {}
    return prices.by_ids(connection, call.scope.id, named)


def customer_of(connection: sa.Connection, call: Call, customer_id: str) -> tuple[Customer, int]:
    """Return a customer that exists, for nobody else to change until we commit, and its time.

    Refuses while its clock is on its way.
    """
    customer, now = lock_time(connection, call, customer_id)
    if customer is None or customer.deleted_at is not None:
        raise envelope.no_such("customer", customer_id, "customer")
    return customer, now


def lock_time(
    connection: sa.Connection, call: Call, customer_id: str
) -> tuple[Customer | None, int]:
    """Return a customer, and what time it is for it, which both stay so until we commit."""
    scope, now = call.scope.id, call.now
    known = customers.find_customer(connection, scope, customer_id)
    if known is not None:
        now = present(connection, scope, known.test_clock, call.now)
    return customers.find_customer(connection, scope, customer_id, lock=True), now


def subscription_of(connection: sa.Connection, invoice: Invoice) -> Subscription | None:
    """Return the subscription that an invoice is of, for nobody else to change until we commit."""
    if invoice.subscription is None:
        return None
    return subscriptions.find_subscription(
        connection, invoice.scope, invoice.subscription, lock=True
    )


def check_subscription(
    connection: sa.Connection, call: Call, subscription_id: str, customer: Customer
) -> None:
    """Refuse a subscription that is not the customer's."""
    found = subscriptions.find_subscription(connection, call.scope.id, subscription_id)
    if found is None:
        raise envelope.no_such("subscription", subscription_id, "subscription")
    if found.customer != customer.id:
        raise invoice_errors.not_of_customer(subscription_id, customer.id)


def stored(connection: sa.Connection, call: Call, invoice_id: str) -> Stored | None:
    """Return an invoice as it is stored, for nobody else to change until we commit."""
    invoice = invoices.find_invoice(connection, call.scope.id, invoice_id, lock=True)
    if invoice is None:
        return None
    lines = invoice_lines.lines_of(connection, [invoice_id])[invoice_id]
    segments = invoice_segments.segments_of(connection, [invoice_id])[invoice_id]
    return Stored(invoice, lines, segments)


def relined(
    connection: sa.Connection,
    call: Call,
    before: Stored,
    lines: Sequence[Line],
    segments: Sequence[Segment],
    metadata: dict[str, str] | None = None,
) -> Stored:
    """Give a draft other lines and segments, and other metadata if told; and announce it."""
    if len(before.lines) < len(lines) > limits.INVOICE_LINES_ITEMS_MAX:
        raise invoice_errors.too_many_lines(limits.INVOICE_LINES_ITEMS_MAX)
    invoice = before.invoice
    if metadata is not None:
        invoice = msgspec.structs.replace(invoice, metadata=metadata)
    lines = with_credits(lines, {})  # what is only expected of them is not stored
    invoice_lines.put_lines(connection, invoice.scope, invoice.id, lines)
    invoice_segments.put_segments(connection, invoice.scope, invoice.id, segments)
    stored = invoices.update_invoice(connection, totalled(invoice, lines))
    after = Stored(stored, simulated_of(connection, stored, lines), list(segments))
    tell_updated(connection, call, before, after)
    return after


def tell_updated(connection: sa.Connection, call: Call, before: Stored, after: Stored) -> None:
    """Announce that an invoice was changed, unless nothing of it was."""
    was = _as_counted(before), before.lines
    tell(connection, call.cause, "updated", _as_counted(after), after.lines, was)
    call.note(connection, "invoice.updated", after.invoice.id)


def _fill(call: Call, document: dict[str, Any], wanted: Collection[str]) -> None:
    """Show the members that an invoice only has where they are expanded."""
    if call.version.date < BASIL:
        return
    if "payments" in wanted:
        document["payments"] = list_object("/v1/invoice_payments", [], has_more=False)
    if "confirmation_secret" in wanted:
        document["confirmation_secret"] = None


def _found(connection: sa.Connection, call: Call, ids: Collection[str]) -> list[Invoice]:
    found = [invoices.find_invoice(connection, call.scope.id, id_) for id_ in ids]
    return [one for one in found if one]


def _subscriptions(
    connection: sa.Connection, call: Call, ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    found = subscriptions.by_ids(connection, call.scope.id, ids)
    documents = shown_subscriptions(connection, call, [*found.values()], ())
    return {document["id"]: document for document in documents}


# What shows the objects that members name, by their ids.
_MEMBERS: Mapping[str, Callable[..., dict[str, dict[str, Any]]]] = {
    "credit_balance_transaction": transactions_shown,
    "credit_grant": grants_shown,
    "customer": customers_shown,
    "invoice": invoices_shown,
    "subscription": _subscriptions,
    "test_clock": clocks_shown,
}


def expand_credits(
    connection: sa.Connection,
    call: Call,
    documents: Iterable[dict[str, Any]],
    paths: Collection[str],
    member: str,
) -> None:
    """Show transactions, and their grants, in what a `member` tells that credits have paid."""
    path = f"{member}.{_TRANSACTION}"
    if not _lead_to(paths, path):
        return
    paid = [one for document in documents for one in document.get(member, ())]
    expand_members(connection, call, paid, {_TRANSACTION})
    if _lead_to(paths, f"{path}.credit_grant"):
        shown = [one[_TRANSACTION] for one in paid if one[_TRANSACTION]]
        expand_members(connection, call, shown, {"credit_grant"})


def _lead_to(paths: Iterable[str], place: str) -> bool:
    """Tell whether one of some paths leads to a place, or through it."""
    return any(f"{path}.".startswith(f"{place}.") for path in paths)


def expand_prices(
    connection: sa.Connection,
    call: Call,
    documents: Iterable[dict[str, Any]],
    paths: Iterable[str],
) -> None:
    """Show prices in the places of the ids that lines or items have, where a path leads there."""
    if not _lead_to(paths, PRICE):
        return
    priced = [document["pricing"] for document in documents if document.get("pricing")]
    details = [one["price_details"] for one in priced if one["price_details"]]
    named = {one["price"] for one in details}
    known = [*prices.by_ids(connection, call.scope.id, named).values()]
    found = {one["id"]: one for one in shown_prices(connection, call, known, frozenset())}
    for one in details:
        one["price"] = found.get(one["price"], one["price"])


async def _counted(call: Call, *, settled: bool) -> Stored | None:
    """Return the invoice in the path as usage makes it now; None where there is none."""
    invoice = await call.read(invoices.find_invoice, call.scope.id, call.ids[0])
    if invoice is None:
        return None
    if settled and invoice.status == "draft":
        await _settle(call, invoice)
    return (await current(call, [invoice]))[0]


async def _settle(call: Call, draft: Invoice) -> None:
    """Wait for all that was acknowledged before, if a draft bills usage at all."""
    segments = await call.read(invoice_segments.segments_of, [draft.id])
    settle = call.services.progress.settle
    if segments[draft.id] and not await settle(limits.CONSISTENCY_WAIT_SECONDS_MAX):
        raise envelope.lock_timeout()


def _as_counted(row: Stored) -> Invoice:
    """Return an invoice with what its lines come to, which of a draft is not stored."""
    return totalled(row.invoice, row.lines) if row.invoice.status == "draft" else row.invoice
