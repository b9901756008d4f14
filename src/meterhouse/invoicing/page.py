"""The page of a finalized invoice, for whoever pays it: who has its address may look.

The address ends in a secret that nobody can guess. It is written into the invoice when that is
finalized, and stays what it is.
"""

import msgspec

from meterhouse import masking
from meterhouse.billing.invoice import Invoice
from meterhouse.ledger.announce import Cause
from meterhouse.wire.ids import new_token


def with_page(cause: Cause, invoice: Invoice) -> Invoice:
    """Return an invoice that has a page, where this server knows how people reach it."""
    if not cause.pages:
        return invoice
    mode = "live" if cause.scope.livemode else "test"
    secret = new_token(masking.INVOICE_LINK)
    page = f"{cause.pages}/invoice/{cause.scope.account}/{mode}/{invoice.id}/{secret}"
    return msgspec.structs.replace(invoice, details=invoice.details | {"page": page})
