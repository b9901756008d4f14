"""Revenue: what finalized invoices come to, by the month in which they were finalized and by meter.

What a reader may rely on:

- A row is the sum of lines, so all rows of a month and a currency add up to the subtotals of its
  invoices. Amounts are whole minor units; currencies are never added to each other.
- Lines that come of no meter's usage, such as those of a quantity, are a row of their own.
- An invoice that was declared void counts no more. What is uncollectible was still earned.
"""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger.tables import invoice_lines, invoice_segments, invoices
from meterhouse.metering.window import Window

_COUNTED = ("open", "paid", "uncollectible")


class Revenue(NamedTuple):
    """What `invoices` invoices of a window came to by the usage of one meter, or without any."""

    window: Window
    meter: str | None
    currency: str
    amount: int
    invoices: int


def revenue(
    connection: sa.Connection,
    scope: int,
    windows: Sequence[Window],
    customer: str | None = None,
) -> list[Revenue]:
    """Return the rows of windows that follow each other, in their order."""
    place = sa.case(
        *((invoices.c.finalized_at < window.end, number) for number, window in enumerate(windows))
    ).label("place")
    groups = place, invoice_segments.c.meter, invoices.c.currency
    query = (
        sa.select(
            *groups,
            sa.func.sum(invoice_lines.c.amount),
            sa.func.count(sa.distinct(invoice_lines.c.invoice)),
        )
        .select_from(invoices)
        .join(invoice_lines, invoice_lines.c.invoice == invoices.c.id)
        .outerjoin(
            invoice_segments,
            (invoice_segments.c.invoice == invoice_lines.c.invoice)
            & (invoice_segments.c.place == invoice_lines.c.segment),
        )
        .where(invoices.c.scope == scope, invoices.c.status.in_(_COUNTED))
        .where(invoices.c.finalized_at >= windows[0].start)
        .where(invoices.c.finalized_at < windows[-1].end)
        .group_by(*groups)
    )
    if customer is not None:
        query = query.where(invoices.c.customer == customer)
    rows = [
        Revenue(windows[number], meter, currency, int(amount), count)
        for number, meter, currency, amount, count in connection.execute(query)
    ]
    return sorted(rows, key=lambda row: (row.window.start, row.currency, row.meter or ""))
