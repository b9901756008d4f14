"""Subscriptions as they are shown to who only looks: a draft in them is as usage makes it now."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from meterhouse.api import invoice, subscription
from meterhouse.api.call import Call
from meterhouse.billing.invoice import Invoice
from meterhouse.billing.subscription import Subscription
from meterhouse.ledger import invoices
from meterhouse.wire.expand import expanded

_IN_INVOICE = "latest_invoice."


async def shown_now(
    call: Call, rows: Sequence[Subscription], expand: Sequence[str]
) -> list[dict[str, Any]]:
    """Return subscriptions as they are shown, with what the paths of `expand` name."""
    paths = [path.removeprefix("data.") for path in expand]
    latest: dict[str, dict[str, Any]] | None = None
    if "latest_invoice" in expanded(paths):
        named = [row.latest_invoice for row in rows if row.latest_invoice is not None]
        found = await invoice.current(call, await call.read(_invoices, call, named))
        within = [path.removeprefix(_IN_INVOICE) for path in paths if path.startswith(_IN_INVOICE)]
        documents = await call.read(invoice.shown, call, found, within)
        latest = {document["id"]: document for document in documents}
    return await call.read(subscription.shown, call, rows, expand, latest)


def _invoices(connection: sa.Connection, call: Call, ids: Sequence[str]) -> list[Invoice]:
    found = [invoices.find_invoice(connection, call.scope.id, id_) for id_ in ids]
    return [one for one in found if one]
