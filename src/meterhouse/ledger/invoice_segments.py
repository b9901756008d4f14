"""The segments of invoices: the usage that each of them bills, and how it was counted.

They are replaced as a whole as long as their invoice is a draft, and never again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Self

import msgspec
import sqlalchemy as sa

from meterhouse.billing.charge import ZERO
from meterhouse.billing.invoice import Segment
from meterhouse.billing.period import Period
from meterhouse.ledger.dialect import any_of, insert_rows
from meterhouse.ledger.invoices import require_drafts
from meterhouse.ledger.tables import invoice_segments, invoices

# The members that are one column each; a period is two, and usage is a text.
_COLUMNS = tuple(
    name for name in Segment.__struct_fields__ if name not in ("period", "usage", "usage_in")
)
_STORED = (
    *_COLUMNS,
    "scope",
    "invoice",
    "usage",
    "usage_start",
    "usage_end",
    "period_start",
    "period_end",
)

# The scope and the id of an invoice, and all its segments.
Segmented = tuple[int, str, Sequence[Segment]]

_delete = sa.delete(invoice_segments).where(any_of(invoice_segments.c.invoice, "invoices"))
_segments = (
    sa.select(invoice_segments)
    .where(any_of(invoice_segments.c.invoice, "invoices"))
    .order_by(invoice_segments.c.invoice, invoice_segments.c.place)
)

# What tells that segments bill the same usage.
RANGE = ("customer", "meter", "price", "subscription_item", "usage_start", "usage_end")
_billed = (
    sa.select(
        invoice_segments,
        invoices.c.subscription.label("of"),
        invoices.c.finalized_at,
        invoices.c.status,
    )
    .join(invoices, invoices.c.id == invoice_segments.c.invoice)
    .where(
        any_of(invoices.c.subscription, "subscriptions"),
        invoice_segments.c.usage_end > sa.bindparam("since"),
        invoice_segments.c.free.is_(False),
        invoice_segments.c.early.is_(False),
    )
    .order_by(invoice_segments.c.usage_end.desc(), invoice_segments.c.seq)
)
_early = (
    sa.select(invoice_segments, invoices.c.subscription.label("of"))
    .join(invoices, invoices.c.id == invoice_segments.c.invoice)
    .where(invoice_segments.c.early.is_(True), invoices.c.status != "void")
    .order_by(invoice_segments.c.seq)
)
_others = invoice_segments.alias()
_left_early = _early.where(
    any_of(invoices.c.subscription, "subscriptions"),
    ~sa.exists().where(
        _others.c.early.is_(False),
        *(_others.c[name].is_not_distinct_from(invoice_segments.c[name]) for name in RANGE[:-1]),
    ),
)


class Early(NamedTuple):
    """What was billed early of usage: what it came to, and how much of it there was at last."""

    amount: int
    usage: Decimal


class Beginning(NamedTuple):
    """What usage of a customer that was billed early has in common with what is billed later."""

    price: str
    subscription_item: str | None
    usage_start: int

    @classmethod
    def of(cls, segment: Segment) -> Self:
        """Return that of a segment."""
        return cls(segment.price, segment.subscription_item, segment.usage_in.start)


def put_segments(
    connection: sa.Connection, scope: int, invoice_id: str, segments: Sequence[Segment]
) -> None:
    """Store these as all the segments of a draft; raises `ValueError` for a finalized invoice."""
    replace_segments(connection, [(scope, invoice_id, segments)])


def replace_segments(connection: sa.Connection, some: Sequence[Segmented]) -> None:
    """Store the segments of several drafts as `put_segments` does."""
    ids = {invoice_id for _, invoice_id, _ in some}
    if not ids:
        return
    require_drafts(connection, ids)
    connection.execute(_delete, {"invoices": list(ids)})
    insert_segments(connection, some)


def insert_segments(connection: sa.Connection, some: Iterable[Segmented]) -> None:
    """Store the segments of new invoices, which have none yet."""
    rows = [
        _row(scope, invoice_id, segment)
        for scope, invoice_id, segments in some
        for segment in segments
    ]
    insert_rows(connection, invoice_segments, _STORED, rows)


def segments_of(connection: sa.Connection, invoice_ids: Iterable[str]) -> dict[str, list[Segment]]:
    """Return the segments of each of the invoices, by their places."""
    found: dict[str, list[Segment]] = {invoice_id: [] for invoice_id in invoice_ids}
    for row in connection.execute(_segments, {"invoices": list(found)}).mappings():
        found[row["invoice"]].append(segment_of(row))
    return found


def segment_of(row: sa.RowMapping) -> Segment:
    """Return the segment that a row of the table holds."""
    values = {
        **{name: row[name] for name in _COLUMNS},
        "usage": row["usage"],
        "usage_in": Period(row["usage_start"], row["usage_end"]),
        "period": Period(row["period_start"], row["period_end"]),
    }
    return msgspec.convert(values, Segment)


def billed_again(connection: sa.Connection, since: Mapping[str, int]) -> dict[str, list[Segment]]:
    """Return what subscriptions were billed for in ranges that end after an instant each has.

    It is to be counted and billed again. What some draft bills already is left alone, and so is
    what was free or has become void. What was billed early is with the rest of its range.
    """
    if not since:
        return {}
    values = {"subscriptions": list(since), "since": min(since.values())}
    found: dict[str, dict[tuple[Any, ...], list[sa.RowMapping]]] = {id_: {} for id_ in since}
    for row in connection.execute(_billed, values).mappings():
        if row["usage_end"] > since[row["of"]]:
            found[row["of"]].setdefault(tuple(row[name] for name in RANGE), []).append(row)
    return {
        id_: [
            _uncounted(some)
            for some in ranges.values()
            if all(row["finalized_at"] is not None for row in some) and some[-1]["status"] != "void"
        ]
        for id_, ranges in found.items()
    }


def billed_early(
    connection: sa.Connection, segments: Collection[Segment]
) -> dict[Beginning, Early]:
    """Return what was billed early of usage that begins where segments do.

    What has become void has not been billed.
    """
    columns = invoice_segments.c
    query = _early.where(
        columns.customer.in_({one.customer for one in segments}),
        columns.meter.in_({one.meter for one in segments}),
        columns.usage_start.in_({one.usage_in.start for one in segments}),
    )
    found: dict[Beginning, Early] = {}
    for early in map(segment_of, connection.execute(query).mappings()):
        key = Beginning.of(early)
        before = found[key].amount if key in found else 0
        found[key] = Early(before + early.amount, early.usage)
    return found


def left_early(connection: sa.Connection, of: Collection[str]) -> dict[str, list[Segment]]:
    """Return what subscriptions were billed for early and not billed again yet, to bill it again.

    Some of it may belong to ranges that go on.
    """
    if not of:
        return {}
    found: dict[str, dict[Beginning, Segment]] = {id_: {} for id_ in of}
    for row in connection.execute(_left_early, {"subscriptions": list(of)}).mappings():
        early = segment_of(row)
        known, key = found[row["of"]], Beginning.of(early)
        before = known[key].billed_before if key in known else 0
        known[key] = _again(early, before + early.amount)
    return {id_: list(known.values()) for id_, known in found.items()}


def _uncounted(billed: Sequence[sa.RowMapping]) -> Segment:
    """Return the segment of a range that was billed, the last time by the last of these."""
    before = billed[0]["billed_before"] + sum(row["amount"] for row in billed)
    return _again(segment_of(billed[-1]), before)


def _again(segment: Segment, billed_before: int) -> Segment:
    """Return a segment that has been billed, to be counted and billed again."""
    return msgspec.structs.replace(
        segment,
        place=0,
        invoice_item=None,
        early=False,
        late="bill",
        billed_before=billed_before,
        usage=ZERO,
        events=0,
        amount=0,
        counted_at=None,
    )


def _row(scope: int, invoice_id: str, segment: Segment) -> tuple[Any, ...]:
    return (
        *(getattr(segment, name) for name in _COLUMNS),
        scope,
        invoice_id,
        str(segment.usage),
        *segment.usage_in,
        *segment.period,
    )
