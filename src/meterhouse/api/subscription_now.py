"""Subscriptions as they are shown to who only looks: a draft in them is as usage makes it now."""

from collections.abc import Sequence
from typing import Any

from meterhouse.api import invoice, subscription
from meterhouse.api.call import Call
from meterhouse.billing.subscription import Subscription
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
        within = [path.removeprefix(_IN_INVOICE) for path in paths if path.startswith(_IN_INVOICE)]
        latest = await invoice.shown_now(call, named, within)
    return await call.read(subscription.shown, call, rows, expand, latest)
