"""`/meterhouse/v1/late_usage`: what has changed since it was billed.

Usage that arrives, or is cancelled, after an invoice was finalized is on no invoice by itself. It
is found by counting anew what was billed.
"""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.billing.bill import pricing_in
from meterhouse.billing.charge import billable, charges
from meterhouse.billing.invoice import Segment
from meterhouse.billing.money import print_decimal
from meterhouse.invoicing.count import count
from meterhouse.ledger import late_usage, prices
from meterhouse.ledger.late_usage import Billed, Filter, Place
from meterhouse.metering.aggregation import SUM
from meterhouse.render.instant import seconds
from meterhouse.wire import envelope, refusals
from meterhouse.wire.body import to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import list_object
from meterhouse.wire.params import Between, RequestParams, TimeRange

_ID = re.compile(r"(.+)_([0-9]{1,6})")


class LateUsageList(RequestParams):
    """The parameters of the list; what is left out narrows nothing."""

    customer: str | None = None
    invoice: str | None = None
    meter: str | None = None
    subscription: str | None = None
    usage_end: TimeRange | None = None
    limit: Annotated[int, Between(1, limits.PAGE_LIMIT_MAX)] = limits.PAGE_LIMIT_DEFAULT
    starting_after: str | None = None


async def list_(call: Call) -> Answer:
    """List usage that has changed since it was billed; what ended last is first."""
    params = call.params(LateUsageList)
    check_expand(params.expand)
    settled = await call.services.progress.reach(strong=call.strong)
    found: list[dict[str, Any]] = []
    async for document in _changed(call, params):
        found.append(document)
        if len(found) > params.limit:
            break
    page = list_object(call.path, found[: params.limit], len(found) > params.limit)
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, to_json(page), headers)


async def _changed(call: Call, params: LateUsageList) -> AsyncIterator[dict[str, Any]]:
    """Yield what has changed, counting so much at a time of what was billed."""
    wanted = Filter(
        customer=params.customer,
        invoice=params.invoice,
        meter=params.meter,
        subscription=params.subscription,
        ended=params.usage_end.window() if params.usage_end else (None, None),
    )
    scope, after = call.scope.id, await _after(call, params.starting_after)
    rows = limits.LATE_USAGE_READ_ROWS
    for _ in range(limits.LATE_USAGE_READ_ROWS_MAX // rows):
        billed = await call.read(late_usage.read, scope, wanted, after, rows)
        counted = await count(call, call.scope, [one.segment for one in billed], call.now)
        changed = [
            (one, now)
            for one, now in zip(billed, counted, strict=True)
            if (one.segment.usage, one.segment.events) != (now.usage, now.events)
        ]
        for document in await call.read(_documents, call, changed) if changed else ():
            yield document
        if len(billed) < rows:
            return
        after = billed[-1].place
    raise refusals.too_much_billed()


async def _after(call: Call, cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    match = _ID.fullmatch(cursor)
    if match is not None:
        invoice, number = match.groups()
        place = await call.read(late_usage.find_place, call.scope.id, invoice, int(number))
    if match is None or place is None:
        raise envelope.no_such("late usage", cursor, "starting_after")
    return place


def _documents(
    connection: sa.Connection, call: Call, changed: list[tuple[Billed, Segment]]
) -> list[dict[str, Any]]:
    known = prices.by_ids(connection, call.scope.id, {one.segment.price for one, _ in changed})
    shown = []
    for one, now in changed:
        before, pricing = one.segment, pricing_in(known[now.price], one.currency)
        amount = sum(charge.amount for charge in charges(pricing, billable(now.usage)))
        shown.append(
            {
                "id": f"{one.invoice}_{before.place}",
                "object": "meterhouse.late_usage",
                "amount": amount,
                "amount_billed": one.amount,
                "amount_difference": amount - one.amount,
                "billed_at": seconds(before.counted_at or 0),
                "currency": one.currency,
                "customer": before.customer,
                "draft": one.draft,
                "events": now.events,
                "events_billed": before.events,
                "invoice": one.invoice,
                "livemode": call.scope.livemode,
                "meter": before.meter,
                "price": before.price,
                "subscription": one.subscription,
                "subscription_item": before.subscription_item,
                "usage": print_decimal(now.usage),
                "usage_billed": print_decimal(before.usage),
                "usage_difference": print_decimal(SUM.combine(now.usage, -before.usage)),
                "usage_end": seconds(before.usage_in.end),
                "usage_start": seconds(before.usage_in.start),
            }
        )
    return shown
