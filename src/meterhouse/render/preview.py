"""Previews of invoices as Stripe shows them: as invoices, all of whose lines stand in them."""

from collections.abc import Sequence
from typing import Any

from meterhouse.billing.invoice import Invoice, Line
from meterhouse.render.invoice import Prices, render_invoice, render_line
from meterhouse.wire.page import list_object
from meterhouse.wire.version import DEFAULT_VERSION, ApiVersion


def render_preview(
    one: Invoice,
    lines: Sequence[Line],
    *,
    livemode: bool,
    version: ApiVersion = DEFAULT_VERSION,
    prices: Prices | None = None,
    named: bool = True,
) -> dict[str, Any]:
    """Render a preview (https://docs.stripe.com/api/invoices/create_preview).

    One that is not `named` has no id, as in the event `invoice.upcoming` and before there was
    `create_preview`.
    """
    document = render_invoice(one, lines, livemode=livemode, version=version, prices=prices)
    shown = render_preview_lines(
        one, lines, livemode=livemode, version=version, prices=prices, named=named
    )
    url = document["lines"]["url"]
    if not named:
        del document["id"]
        url = f"/v1/invoices/upcoming/lines?customer={one.customer}"
    document["lines"] = list_object(url, shown, has_more=False) | {"total_count": len(shown)}
    return document


def render_preview_lines(
    one: Invoice,
    lines: Sequence[Line],
    *,
    livemode: bool,
    version: ApiVersion,
    prices: Prices | None,
    named: bool,
) -> list[dict[str, Any]]:
    """Render the lines of a preview."""
    shown = [
        render_line(line, one, livemode=livemode, version=version, prices=prices) for line in lines
    ]
    return shown if named else [line | {"invoice": None} for line in shown]
