"""`/meterhouse/v1/invoice_lines/{id}/…`: what a line's number is made of.

A line of usage bills a segment: a customer's usage of one meter in one range. Of a draft that is
told as it is now, of a finalized invoice as it was when it was counted: what came later is no part
of the line, and said to be late.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import reduce
from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.meter_question import DimensionGroupKeys, check_dimensions, check_rows
from meterhouse.api.meterhouse.meter_events import documents
from meterhouse.billing.bill import pricing_in
from meterhouse.billing.breakdown import allotted, tier_of
from meterhouse.billing.charge import billable
from meterhouse.billing.invoice import Invoice, Line, Segment
from meterhouse.billing.money import print_decimal
from meterhouse.billing.price import Pricing
from meterhouse.invoicing.recount import recounted
from meterhouse.ledger import invoice_lines, invoices, meters, prices
from meterhouse.metering.aggregation import SUM
from meterhouse.metering.meter_usage import MeterQuestion, MeterUsageQuery
from meterhouse.metering.search import FoundEvent
from meterhouse.metering.window import SLOT
from meterhouse.usage.counted import Place, Range
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope
from meterhouse.wire.body import to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import RequestParams

_EVER = limits.REQUEST_TIMESTAMP_SECONDS_MAX * 1_000
_NOTHING = Decimal(0)
_Group = tuple[str, ...] | None


class EventsParams(PageParams):
    """A page, and the invoice of the line; only a draft's newest lines are not found without it."""

    invoice: str | None = None


class BreakdownParams(RequestParams, kw_only=True):
    """By which of the meter's dimensions a line is told apart, and the invoice that it is on."""

    group_by: DimensionGroupKeys
    invoice: str | None = None


class _Told(NamedTuple):
    """A line, the invoice that it is on, and the usage that it bills, with the price's terms."""

    invoice: Invoice
    line: Line
    segment: Segment
    range: Range
    pricing: Pricing


async def events(call: Call) -> Answer:
    """List the events in the range that a line bills, those of the latest timestamps first."""
    params = call.params(EventsParams)
    check_expand(params.expand)
    settled = await call.services.progress.reach(strong=call.strong)
    told = await _told(call, params.invoice)
    if told is None:
        return _answer(list_object(call.path, [], has_more=False), settled=settled)
    oldest = params.ending_before is not None
    beyond = await _cursor(call, told, params)
    found = await call.usage(
        UsageStore.events_of, told.range, beyond, params.limit + 1, oldest=oldest
    )
    shown = found[: params.limit]
    data = await _explained(call, told, shown[::-1] if oldest else shown)
    return _answer(list_object(call.path, data, len(found) > params.limit), settled=settled)


async def breakdown(call: Call) -> Answer:
    """Tell a line's quantity and amount apart by dimensions, so that they add up to the line."""
    params = call.params(BreakdownParams)
    check_expand(params.expand)
    settled = await call.services.progress.reach(strong=call.strong)
    told = await _told(call, params.invoice)
    if told is None:
        raise envelope.no_such("metered invoice line item", call.ids[0], "id")
    keys = tuple(dict.fromkeys(params.group_by))
    check_dimensions(told.range.meter, keys, "group_by")
    groups = await _groups(call, told, keys)
    line = told.line
    document = {
        "object": "meterhouse.invoice_line_breakdown",
        "amount": line.amount,
        "currency": told.invoice.currency,
        "customer": told.segment.customer,
        "data": list(_rows(line, keys, groups)),
        "group_by": list(keys),
        "invoice": told.invoice.id,
        "line": line.id,
        "livemode": call.scope.livemode,
        "meter": told.segment.meter,
        "quantity_decimal": print_decimal(line.quantity),
        "usage": print_decimal(told.segment.usage),
    }
    return _answer(document, settled=settled)


def _answer(document: Any, *, settled: bool) -> Answer:
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, to_json(document), headers)


async def _told(call: Call, invoice_id: str | None) -> _Told | None:
    """Find a line as it is now; None where no usage is in it."""
    invoice = await call.read(_invoice, call.scope.id, call.ids[0], invoice_id)
    if invoice is None:
        raise envelope.no_such("invoice line item", call.ids[0], "id")
    [stored] = await recounted(call, call.scope, [invoice], call.now)
    line = next((one for one in stored.lines if one.id == call.ids[0]), None)
    if line is None:  # a tier that usage does not reach any more
        raise envelope.no_such("invoice line item", call.ids[0], "id")
    segment = next((one for one in stored.segments if one.place == line.segment), None)
    if segment is None:
        return None
    meter = (await call.read(meters.by_ids, [segment.meter]))[segment.meter]
    price = (await call.read(prices.by_ids, call.scope.id, [segment.price]))[segment.price]
    finalized = invoice.finalized_at is not None and segment.counted_at is not None
    range_ = Range(
        scope=call.scope,
        meter=meter,
        customer=segment.customer,
        start=segment.usage_in.start,
        end=segment.usage_in.end,
        as_of=segment.counted_at or _EVER if finalized else _EVER,
    )
    return _Told(invoice, line, segment, range_, pricing_in(price, invoice.currency))


def _invoice(
    connection: sa.Connection, scope: int, line_id: str, invoice_id: str | None
) -> Invoice | None:
    invoice_id = invoice_id or invoice_lines.find_line(connection, scope, line_id)
    return (invoice_id and invoices.find_invoice(connection, scope, invoice_id)) or None


# ---- Events ----


async def _cursor(call: Call, told: _Told, params: PageParams) -> Place | None:
    """Return the place of the event that the page begins after, or ends before."""
    if not params.cursor:
        return None
    position = call.services.event_ids.position(call.scope.id, params.cursor)
    event = None
    if position is not None and 0 < position < 2**63:
        event = await call.usage(UsageStore.find, call.scope, told.segment.meter, position)
    if event is None or event.customer != told.segment.customer:
        raise envelope.no_such("meter event", params.cursor, params.cursor_param)
    return Place(event.timestamp, event.position)


async def _explained(call: Call, told: _Told, page: Sequence[FoundEvent]) -> list[dict[str, Any]]:
    """Render events, the latest first, each with whether it counts in the line, and where."""
    if not page:
        return []
    upto = Place(page[0].timestamp, page[0].position)
    positions = [event.position for event in page]
    counting = await call.usage(UsageStore.counting, told.range, upto, positions)
    shown = await documents(call, list(page))
    reached = counting.usage
    for event, document in zip(page, shown, strict=True):
        counts = event.position in counting.positions
        before = _before(told, event, reached) if counts else reached
        document["counts"] = counts
        document["reason"] = None if counts else _reason(told, event, document)
        document["tier"] = _tier(told, reached) if counts else None
        document["usage_before"] = print_decimal(before) if counts else None
        document["usage_after"] = print_decimal(reached) if counts else None
        reached = before
    return shown


def _before(told: _Told, event: FoundEvent, reached: Decimal) -> Decimal:
    """Return what the usage of the range had come to before an event that counts."""
    if told.range.meter.formula == "last":
        return _NOTHING
    one = Decimal(1) if told.range.meter.formula == "count" else event.value or _NOTHING
    return SUM.combine(reached, -one)


def _reason(told: _Told, event: FoundEvent, document: dict[str, Any]) -> str:
    """Say why an event is not in the line: another counts instead where it was superseded."""
    if event.received_at > told.range.as_of:
        return "late"
    return "cancelled" if document["cancelled"] else "superseded"


def _tier(told: _Told, reached: Decimal) -> int | None:
    """Return the tier that prices the last unit of an event."""
    if told.segment.free:
        return None
    volume = told.pricing.tiers_mode == "volume"
    return tier_of(told.pricing, billable(told.segment.usage if volume else reached))


# ---- Breakdown ----


async def _groups(call: Call, told: _Told, keys: tuple[str, ...]) -> dict[_Group, Decimal]:
    """Return the usage of each group, by its values; what no group explains is of None."""
    if told.range.meter.formula == "last":
        groups = await _group_of_last(call, told, keys)
    else:
        groups = await _groups_added_up(call, told, keys)
    rest = SUM.combine(told.segment.usage, -_sum(groups.values()))
    return groups | {None: rest} if rest or not groups else groups


async def _groups_added_up(call: Call, told: _Told, keys: tuple[str, ...]) -> dict[_Group, Decimal]:
    range_ = told.range
    now = range_.as_of == _EVER
    query = MeterUsageQuery(
        scope=range_.scope,
        customer=range_.customer,
        start=range_.start,
        end=range_.end,
        questions=(MeterQuestion(range_.meter, keys),),
        exact=not now or bool(range_.start % SLOT or range_.end % SLOT),
        as_of=None if now else range_.as_of,
    )
    rows = await call.usage(UsageStore.meter_usage, query)
    check_rows(rows)
    return {tuple(row.dimensions[key] for key in keys): row.value for row in rows if row.dimensions}


async def _group_of_last(call: Call, told: _Told, keys: tuple[str, ...]) -> dict[_Group, Decimal]:
    """Return the group of the one event that counts, where that is the last of a range."""
    upto = Place(told.range.end, 0)
    counting = await call.usage(UsageStore.counting, told.range, upto, [])
    found = await call.usage(
        UsageStore.find_all, call.scope, told.segment.meter, counting.positions
    )
    return {tuple(event.payload.get(key, "") for key in keys): event.value for event in found}


def _sum(usage: Iterable[Decimal]) -> Decimal:
    return reduce(SUM.combine, usage, SUM.empty)


def _rows(
    line: Line, keys: tuple[str, ...], groups: dict[_Group, Decimal]
) -> Sequence[dict[str, Any]]:
    """Share a line's quantity and amount out by usage; where that is nothing, to nobody."""
    usage = list(groups.values())
    if _sum(usage) <= 0:
        groups = {None: _NOTHING}
        usage = [Decimal(1)]
    quantities = allotted(line.quantity, usage, limits.PRICE_DECIMALS_MAX)
    amounts = allotted(Decimal(line.amount), usage)
    return [
        {
            "amount": int(amount),
            "dimensions": None if group is None else dict(zip(keys, group, strict=True)),
            "quantity_decimal": print_decimal(quantity),
            "usage": print_decimal(used),
        }
        for (group, used), quantity, amount in zip(groups.items(), quantities, amounts, strict=True)
    ]
