"""What is due and cannot be billed: it is noted, and of a draft it is announced."""

import sqlalchemy as sa

from meterhouse.errors import Refusal
from meterhouse.ledger import accounts, holdups, invoice_lines, invoices
from meterhouse.ledger.announce import Cause, announce
from meterhouse.ledger.holdups import Holdup
from meterhouse.render.invoice import render_finalization_error, render_invoice

_UNFORESEEN = "Something happened that nobody has foreseen."


def hold_up(connection: sa.Connection, object_id: str, error: Exception, now: int) -> Holdup | None:
    """Note that what is due of an object has failed; None where nothing is due of it by now."""
    code, why = None, _UNFORESEEN
    if isinstance(error, Refusal):
        code, why = error.code, error.message
    held = holdups.hold_up(connection, object_id, code, why, now)
    if held is not None and held.attempts == 1:
        _tell(connection, held, now)
    return held


def _tell(connection: sa.Connection, held: Holdup, now: int) -> None:
    """Announce that an invoice cannot be finalized."""
    invoice = invoices.find_invoice(connection, held.scope, held.object)
    if invoice is None or invoice.status != "draft":
        return
    scope = accounts.scopes_by_id(connection)[held.scope]
    lines = invoice_lines.lines_of(connection, (invoice.id,))[invoice.id]
    document = render_invoice(invoice, lines, livemode=scope.livemode)
    document["last_finalization_error"] = render_finalization_error(held.code, held.message)
    path = f"/v1/invoices/{invoice.id}"
    announce(connection, Cause(scope, now), "invoice.finalization_failed", path, document)
