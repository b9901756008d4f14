"""Make invoices: each is stored with its lines and the usage it bills, and announced as a draft.

What a reader may rely on: the pending items that the lines and segments of a new invoice name are
its own from then on, so no other invoice bills them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from meterhouse.billing.bill import totalled
from meterhouse.billing.credit import simulated
from meterhouse.billing.invoice import Invoice, Line, Segment
from meterhouse.invoicing.posting import Posting
from meterhouse.invoicing.tell import told
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.customers import Customer
from meterhouse.limits import INVOICE_LINE_AMOUNT_LIMIT
from meterhouse.wire.invoice_errors import line_too_large

# Members of a customer that its invoices show by other names.
_SHOWN: Mapping[str, str] = {
    "customer_address": "address",
    "customer_name": "name",
    "customer_phone": "phone",
    "customer_shipping": "shipping",
    "customer_tax_exempt": "tax_exempt",
}


def create_invoice(
    posting: Posting,
    cause: Cause,
    invoice: Invoice,
    lines: Sequence[Line],
    segments: Sequence[Segment],
) -> Invoice:
    """Note a new draft, put the pending items that it bills onto it, and announce it.

    Its totals are those of its lines; who its customer is, and what its subscription says of
    itself, is written down as it is now.
    """
    check_amounts(lines)
    customer = posting.customer(invoice)
    if customer is not None:
        invoice = showing(posting, _as_customer_likes(invoice, customer), customer)
    invoice = totalled(invoice, lines)
    posting.create_invoice(invoice, lines, segments)
    billed = {line.invoice_item for line in lines} | {one.invoice_item for one in segments}
    posting.assign((id_ for id_ in billed if id_ is not None), invoice)
    grants = posting.grants(invoice.customer)
    shown = simulated(grants, lines, invoice.period.end, invoice.currency)
    posting.tell(told(cause, "created", totalled(invoice, shown), shown))
    return invoice


def check_amounts(lines: Iterable[Line]) -> None:
    """Refuse lines that nobody could be meant to pay: what is stored has a bound."""
    if any(abs(line.amount) > INVOICE_LINE_AMOUNT_LIMIT for line in lines):
        raise line_too_large()


def showing(posting: Posting, invoice: Invoice, customer: Customer) -> Invoice:
    """Return an invoice that shows who is whose customer now, and its subscription's metadata."""
    details: dict[str, Any] = invoice.details | {
        "account_name": posting.seller(invoice.scope),
        "customer_email": customer.email,
    }
    for name, member in _SHOWN.items():
        details.pop(name, None)
        if customer.details.get(member) is not None:
            details[name] = customer.details[member]
    if invoice.subscription is not None:
        details["subscription_metadata"] = posting.subscription_metadata(invoice.subscription)
    return msgspec.structs.replace(invoice, details=details)


def _as_customer_likes(invoice: Invoice, customer: Customer) -> Invoice:
    """Return a new invoice with the head and the foot that its customer has for all of them."""
    settings = customer.details.get("invoice_settings") or {}
    details = dict(invoice.details)
    if settings.get("custom_fields") is not None:
        details.setdefault("custom_fields", settings["custom_fields"])
    footer = settings.get("footer") if invoice.footer is None else invoice.footer
    return msgspec.structs.replace(invoice, details=details, footer=footer)
