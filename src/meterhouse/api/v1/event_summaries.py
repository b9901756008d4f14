"""`/v1/billing/meters/{id}/event_summaries` (https://docs.stripe.com/api/billing/meter-event-summary).

A summary is computed, not stored: its id is derived from what it summarizes, and a page is cut at
the summary whose id the cursor names.
"""

from collections.abc import Sequence
from typing import Any, Literal

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.render import seconds
from meterhouse.api.v1 import meters
from meterhouse.ledger import customers
from meterhouse.metering.usage import SummaryPoint, SummaryQuery
from meterhouse.metering.value import print_value
from meterhouse.metering.window import Alignment, is_aligned
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope
from meterhouse.wire.body import number, to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import derived_id
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Timestamp


class SummaryList(PageParams, kw_only=True):
    """The parameters of the list; `start_time` is inclusive, `end_time` exclusive."""

    customer: str
    start_time: Timestamp
    end_time: Timestamp
    value_grouping_window: Literal["day", "hour"] | None = None


async def list_(call: Call) -> Answer:
    """Tell a customer's usage on a meter: over the whole range, or window by window."""
    params = call.params(SummaryList)
    check_expand(params.expand)
    _check_range(params)
    stores = call.house.stores
    meter = await stores.read(meters.find, call)
    customer = await stores.read(customers.find_customer, call.scope.id, params.customer)
    if customer is None:
        raise envelope.no_such("customer", params.customer, "customer")
    settled = call.strong and await call.house.processor.settle(limits.CONSISTENCY_WAIT_SECONDS_MAX)
    query = SummaryQuery(
        call.scope,
        meter,
        customer.id,
        params.start_time * 1000,
        params.end_time * 1000,
        params.value_grouping_window,
    )
    points = await stores.usage(UsageStore.summaries, query)
    rows, has_more = _page([(_id(query, point), point) for point in points], params)
    document = list_object(call.path, [_summary(query, *row) for row in rows], has_more)
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, to_json(document), headers)


def _check_range(params: SummaryList) -> None:
    unit: Alignment = params.value_grouping_window or "minute"
    for name, instant in (("start_time", params.start_time), ("end_time", params.end_time)):
        if not is_aligned(instant * 1000, unit):
            raise envelope.unaligned_time(name, unit)
    if params.start_time >= params.end_time:
        raise envelope.empty_range()


def _id(query: SummaryQuery, point: SummaryPoint) -> str:
    return derived_id(
        "mtrusg",
        query.scope.livemode,
        query.scope.account,
        query.meter.id,
        query.customer,
        point.start,
        point.end,
    )


def _page(
    rows: Sequence[tuple[str, SummaryPoint]], params: SummaryList
) -> tuple[Sequence[tuple[str, SummaryPoint]], bool]:
    """Cut a page out of all summaries, which stand newest first."""
    if not params.cursor:
        return rows[: params.limit], len(rows) > params.limit
    ids = [id_ for id_, _ in rows]
    if params.cursor not in ids:
        raise envelope.no_such("billing meter event summary", params.cursor, params.cursor_param)
    place = ids.index(params.cursor)
    if params.starting_after:
        after = rows[place + 1 :]
        return after[: params.limit], len(after) > params.limit
    before = rows[:place]
    return before[-params.limit :], len(before) > params.limit


def _summary(query: SummaryQuery, id_: str, point: SummaryPoint) -> dict[str, Any]:
    return {
        "id": id_,
        "object": "billing.meter_event_summary",
        "aggregated_value": number(print_value(point.value)),
        "end_time": seconds(point.end),
        "livemode": query.scope.livemode,
        "meter": query.meter.id,
        "start_time": seconds(point.start),
    }
