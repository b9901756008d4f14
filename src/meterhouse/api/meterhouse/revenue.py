"""`/meterhouse/v1/revenue`: what finalized invoices come to, by month and by meter."""

from typing import Any
from zoneinfo import ZoneInfo

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import customers
from meterhouse.ledger.revenue import Revenue, revenue
from meterhouse.metering.window import Window, zoned
from meterhouse.render.instant import seconds
from meterhouse.wire import envelope, refusals
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import list_object
from meterhouse.wire.params import RequestParams, Timestamp


class RevenueParams(RequestParams, kw_only=True):
    """The parameters; `starts_at` is inclusive, `ends_at` exclusive."""

    starts_at: Timestamp
    ends_at: Timestamp
    customer: str | None = None


async def list_(call: Call) -> Answer:
    """Add up what finalized invoices came to in each month, in UTC, by meter and by currency."""
    params = call.params(RevenueParams)
    check_expand(params.expand)
    start, end = params.starts_at * 1000, params.ends_at * 1000
    if start > end:
        raise refusals.invalid_time_range()
    months = [
        Window(max(one.start, start), min(one.end, end))
        for one in zoned(start, end, "month", ZoneInfo("UTC"))
    ]
    if len(months) > limits.REVENUE_WINDOWS_MAX:
        raise refusals.too_many_months(limits.REVENUE_WINDOWS_MAX)
    if params.customer is not None:
        scope = call.scope.id
        if await call.read(customers.find_customer, scope, params.customer) is None:
            raise envelope.no_such("customer", params.customer, "customer")
    rows = await call.read(revenue, call.scope.id, months, params.customer) if months else []
    return ok(list_object(call.path, [_row(row) for row in rows], has_more=False))


def _row(row: Revenue) -> dict[str, Any]:
    return {
        "object": "meterhouse.revenue",
        "amount": row.amount,
        "currency": row.currency,
        "ends_at": seconds(row.window.end),
        "invoices": row.invoices,
        "meter": row.meter,
        "starts_at": seconds(row.window.start),
    }
