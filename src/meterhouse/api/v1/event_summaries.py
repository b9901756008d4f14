"""`/v1/billing/meters/{id}/event_summaries` (https://docs.stripe.com/api/billing/meter-event-summary).

A summary is computed, not stored: its id is derived from what it summarizes, and a page is cut at
the summary whose id the cursor names. What a preview can filter and group by is answered as meter
usage is, to the millisecond.
"""

from typing import Annotated, Any, Literal

from msgspec import field

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.meter_question import (
    DimensionFilters,
    DimensionGroupKeys,
    check_dimensions,
    check_rows,
    check_windows,
    filters,
)
from meterhouse.api.v1 import meters
from meterhouse.ledger import customers
from meterhouse.metering.meter_usage import Filter, MeterQuestion, MeterUsageQuery
from meterhouse.metering.model import Meter
from meterhouse.metering.usage import SummaryPoint, SummaryQuery
from meterhouse.metering.value import print_value
from meterhouse.metering.window import Alignment, is_aligned
from meterhouse.render.instant import seconds
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope, refusals
from meterhouse.wire.body import number, to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import derived_id
from meterhouse.wire.page import PageParams, cut_page, list_object
from meterhouse.wire.params import Items, Timestamp

TenantKeys = Annotated[
    list[str],
    Items(limits.METER_USAGE_TENANT_FILTER_KEYS_MAX, limits.EVENT_PAYLOAD_KEY_CHARS_MAX),
]
TenantValues = Annotated[list[list[str]], Items(limits.METER_USAGE_TENANT_FILTER_KEYS_MAX)]


class SummaryList(PageParams, kw_only=True):
    """The parameters of the list; `start_time` is inclusive, `end_time` exclusive."""

    customer: str
    start_time: Timestamp
    end_time: Timestamp
    value_grouping_window: Literal["day", "hour"] | None = None
    dimension_group_by_keys: DimensionGroupKeys = field(default_factory=list)
    dimension_filters: DimensionFilters = field(default_factory=dict)
    tenant_keys: TenantKeys = field(default_factory=list)
    tenant_operator: Literal["excludes", "includes"] | None = None
    tenant_values: TenantValues = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse tenants that are not told in full."""
        super().__post_init__()
        given = {bool(self.tenant_keys), bool(self.tenant_operator), bool(self.tenant_values)}
        if len(given) > 1 or len(self.tenant_keys) != len(self.tenant_values):
            raise refusals.incomplete_tenants()


async def list_(call: Call) -> Answer:
    """Tell a customer's usage on a meter: over the whole range, or window by window."""
    params = call.params(SummaryList)
    check_expand(params.expand)
    _check_range(params)
    meter = await call.read(meters.find, call)
    customer = await call.read(customers.find_customer, call.scope.id, params.customer)
    if customer is None:
        raise envelope.no_such("customer", params.customer, "customer")
    settled = await call.services.progress.reach(strong=call.strong)
    question = _question(meter, params)
    query = SummaryQuery(
        call.scope,
        meter,
        customer.id,
        params.start_time * 1000,
        params.end_time * 1000,
        params.value_grouping_window,
    )
    if question.groups or question.filters:
        points = await _points(call, query, question)
    else:
        points = await call.usage(UsageStore.summaries, query)
    rows = [(_id(query, question, point), point) for point in points]
    page = cut_page([(id_, (id_, point)) for id_, point in rows], params)
    if page is None:
        raise envelope.no_such("billing meter event summary", params.cursor, params.cursor_param)
    data = [_summary(query, *row, exact=call.exact) for row in page[0]]
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, to_json(list_object(call.path, data, page[1])), headers)


def _question(meter: Meter, params: SummaryList) -> MeterQuestion:
    groups = tuple(dict.fromkeys(params.dimension_group_by_keys))
    check_dimensions(meter, groups, "dimension_group_by_keys")
    check_dimensions(meter, params.dimension_filters, "dimension_filters")
    excludes = params.tenant_operator == "excludes"
    tenants = zip(params.tenant_keys, params.tenant_values, strict=True)
    return MeterQuestion(
        meter,
        dimension_group_by_keys=groups,
        dimension_filters=filters(params.dimension_filters),
        tenant_filters=tuple(Filter(key, tuple(values), excludes) for key, values in tenants),
    )


async def _points(call: Call, query: SummaryQuery, question: MeterQuestion) -> list[SummaryPoint]:
    """Summarize by groups, or what filters let through; the newest first."""
    check_windows(query.start, query.end, query.window)
    asked = MeterUsageQuery(
        scope=query.scope,
        customer=query.customer,
        start=query.start,
        end=query.end,
        questions=(question,),
        window=query.window,
        exact=True,
    )
    rows = await call.usage(UsageStore.meter_usage, asked)
    check_rows(rows)
    rows.sort(key=lambda row: row.start, reverse=True)
    return [SummaryPoint(row.start, row.end, row.value, row.dimensions) for row in rows]


def _check_range(params: SummaryList) -> None:
    unit: Alignment = params.value_grouping_window or "minute"
    for name, instant in (("start_time", params.start_time), ("end_time", params.end_time)):
        if not is_aligned(instant * 1000, unit):
            raise refusals.unaligned_time(name, unit)
    if params.start_time >= params.end_time:
        raise refusals.empty_range()


def _id(query: SummaryQuery, question: MeterQuestion, point: SummaryPoint) -> str:
    asked = repr(question.filters) if question.filters else ""
    return derived_id(
        "mtrusg",
        query.scope.livemode,
        query.scope.account,
        query.meter.id,
        query.customer,
        point.start,
        point.end,
        *([asked, repr(point.dimensions)] if asked or point.dimensions else ()),
    )


def _summary(query: SummaryQuery, id_: str, point: SummaryPoint, *, exact: bool) -> dict[str, Any]:
    value = print_value(point.value)
    document = {
        "id": id_,
        "object": "billing.meter_event_summary",
        "aggregated_value": number(value),
        "end_time": seconds(point.end),
        "livemode": query.scope.livemode,
        "meter": query.meter.id,
        "start_time": seconds(point.start),
    }
    if exact:
        document["aggregated_value_decimal"] = value
    return document | {"dimensions": point.dimensions} if point.dimensions else document
