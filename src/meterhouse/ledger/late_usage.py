"""What finalized invoices have billed, to be compared with what usage comes to by now.

What a reader may rely on: usage that was billed several times, because it had changed, is told
once, as it was counted last, with what has been charged for it in all. What was free, or has become
void, is left out, and so is what was billed early, which is counted again. What ends last is first.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.billing.invoice import Segment
from meterhouse.billing.period import Period
from meterhouse.ledger.invoice_segments import RANGE, segment_of
from meterhouse.ledger.tables import invoice_segments as segments
from meterhouse.ledger.tables import invoices


class Filter(NamedTuple):
    """Which usage; what is None leaves nothing out. `ended` is a half-open window."""

    customer: str | None = None
    invoice: str | None = None
    meter: str | None = None
    subscription: str | None = None
    ended: tuple[int | None, int | None] = (None, None)


class Place(NamedTuple):
    """Where usage stands in the order."""

    usage_end: int
    seq: int


class Billed(NamedTuple):
    """Usage as the invoice has it that billed it last, and the `amount` charged for it in all.

    `draft` is the invoice, not finalized yet, that bills it again.
    """

    segment: Segment
    place: Place
    invoice: str
    subscription: str | None
    currency: str
    amount: int
    draft: str | None


def find_place(connection: sa.Connection, scope: int, invoice: str, number: int) -> Place | None:
    """Return where the segment with a place on an invoice stands."""
    query = sa.select(segments.c.usage_end, segments.c.seq).where(
        segments.c.scope == scope, segments.c.invoice == invoice, segments.c.place == number
    )
    row = connection.execute(query).one_or_none()
    return Place(*row) if row else None


def read(
    connection: sa.Connection, scope: int, wanted: Filter, after: Place | None, rows: int
) -> list[Billed]:
    """Return so many of what was billed, beyond a place in the order."""
    query = _query(scope).where(*_demands(wanted))
    if after is not None:
        place = sa.tuple_(segments.c.usage_end, segments.c.seq)
        query = query.where(segments.c.usage_end <= after.usage_end, place < sa.tuple_(*after))
    return [
        Billed(
            segment_of(row),
            Place(row["usage_end"], row["seq"]),
            row["invoice"],
            row["subscription"],
            row["currency"],
            row["charged"],
            row["draft"],
        )
        for row in connection.execute(query.limit(rows)).mappings()
    ]


def billed_in(
    connection: sa.Connection, scope: int, meters: Collection[str], range_: Period, currency: str
) -> dict[str, int]:
    """Return what customers were charged, by finalized invoices, for usage within a range.

    Where a range of usage reaches beyond it, it is left out.
    """
    query = (
        sa.select(segments.c.customer, sa.func.sum(segments.c.amount))
        .join(invoices, invoices.c.id == segments.c.invoice)
        .where(
            segments.c.scope == scope,
            segments.c.meter.in_(list(meters)),
            segments.c.usage_start >= range_.start,
            segments.c.usage_end.between(range_.start, range_.end),
            invoices.c.currency == currency,
            invoices.c.finalized_at.is_not(None),
            invoices.c.status != "void",
        )
        .group_by(segments.c.customer)
    )
    return {customer: int(amount) for customer, amount in connection.execute(query)}


def _query(scope: int) -> sa.Select[tuple[object, ...]]:
    other, whose = segments.alias(), invoices.alias()
    same = [other.c[name].is_not_distinct_from(segments.c[name]) for name in RANGE]
    others = sa.select(other.c.seq).join(whose, whose.c.id == other.c.invoice)
    others = others.where(*same, other.c.early.is_(False))
    finalized = whose.c.finalized_at.is_not(None)
    charged = others.where(finalized).with_only_columns(sa.func.sum(other.c.amount))
    early = others.where(finalized).with_only_columns(other.c.billed_before)
    early = early.order_by(other.c.seq).limit(1)
    draft = others.where(~finalized).with_only_columns(sa.func.min(whose.c.id))
    newer = others.where(finalized, other.c.seq > segments.c.seq)
    return (
        sa.select(
            segments,
            invoices.c.subscription,
            invoices.c.currency,
            (charged.scalar_subquery() + early.scalar_subquery()).label("charged"),
            draft.scalar_subquery().label("draft"),
        )
        .join(invoices, invoices.c.id == segments.c.invoice)
        .where(
            segments.c.scope == scope,
            segments.c.free.is_(False),
            segments.c.early.is_(False),
            invoices.c.finalized_at.is_not(None),
            invoices.c.status != "void",
            ~newer.exists(),
        )
        .order_by(segments.c.usage_end.desc(), segments.c.seq.desc())
    )


def _demands(wanted: Filter) -> Iterator[sa.ColumnElement[bool]]:
    for name in ("customer", "invoice", "meter"):
        value = getattr(wanted, name)
        if value is not None:
            yield segments.c[name] == value
    if wanted.subscription is not None:
        yield invoices.c.subscription == wanted.subscription
    start, end = wanted.ended
    if start is not None:
        yield segments.c.usage_end >= start
    if end is not None:
        yield segments.c.usage_end < end
