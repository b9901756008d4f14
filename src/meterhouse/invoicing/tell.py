"""Tell what has become of an invoice: its events, which all show it alike."""

from collections.abc import Sequence

import sqlalchemy as sa

from meterhouse.billing.invoice import Invoice, Line
from meterhouse.ledger.announce import Cause, announce
from meterhouse.render.invoice import render_invoice


def tell(
    connection: sa.Connection,
    cause: Cause,
    what: str,
    invoice: Invoice,
    lines: Sequence[Line],
    before: tuple[Invoice, Sequence[Line]] | None = None,
) -> None:
    """Announce `invoice.<what>` with the invoice as it is now.

    `before` is the invoice as it was, with its lines, in an event that tells what was updated.
    """
    livemode = cause.scope.livemode
    announce(
        connection,
        cause,
        f"invoice.{what}",
        f"/v1/invoices/{invoice.id}",
        render_invoice(invoice, lines, livemode=livemode),
        render_invoice(*before, livemode=livemode) if before else None,
    )
