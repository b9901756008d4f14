"""Tell what has become of an invoice: its events, which all show it alike."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from meterhouse.billing.invoice import Invoice, Line
from meterhouse.ledger import outbox
from meterhouse.ledger.announce import Cause, announced
from meterhouse.render.invoice import render_invoice
from meterhouse.render.preview import render_preview
from meterhouse.wire.ids import new_id
from meterhouse.wire.notification import Notification, twin_of


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
    outbox.emit_all(connection, told(cause, what, invoice, lines, before))


def told(
    cause: Cause,
    what: str,
    invoice: Invoice,
    lines: Sequence[Line],
    before: tuple[Invoice, Sequence[Line]] | None = None,
) -> list[Notification]:
    """Return what `tell` announces: nothing where an update has changed nothing."""
    if before is not None and before == (invoice, lines):
        return []
    livemode = cause.scope.livemode
    return announced(
        cause,
        f"invoice.{what}",
        f"/v1/invoices/{invoice.id}",
        render_invoice(invoice, lines, livemode=livemode),
        render_invoice(*before, livemode=livemode) if before else None,
    )


def told_of_upcoming(cause: Cause, invoice: Invoice, lines: Sequence[Line]) -> list[Notification]:
    """Return `invoice.upcoming`, which shows an invoice without an id: there is none yet."""
    livemode = cause.scope.livemode
    document = render_preview(invoice, lines, livemode=livemode, named=False)
    event = Notification(
        id=new_id("evt"),
        scope=cause.scope.id,
        payload="snapshot",
        type="invoice.upcoming",
        created=cause.now,
        body={"object": document},
    )
    about = {"customer": invoice.customer, "subscription": invoice.subscription}
    return [event, msgspec.structs.replace(twin_of(event, livemode=livemode), body=about)]
