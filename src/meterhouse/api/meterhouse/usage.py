"""`/meterhouse/v1/usage`: the usage of all customers, for dashboards and for finance.

It takes what `/v1/billing/analytics/meter_usage` takes, and more. The answer is JSON, CSV or
Parquet, as the header `Accept` says, however many rows it has.
"""

from typing import IO, Annotated, Any, Literal

import sqlalchemy as sa

from meterhouse import limits, zones
from meterhouse.api.call import Answer, Call
from meterhouse.api.meter_question import check_range, check_windows, check_zone, question
from meterhouse.api.v1.meter_usage import MeterParams
from meterhouse.errors import ExportError
from meterhouse.gone import until_gone
from meterhouse.ledger import customers, meters
from meterhouse.metering.meter_usage import MeterQuestion, MeterUsageQuery
from meterhouse.metering.overview import Overview
from meterhouse.metering.window import GroupingWindow
from meterhouse.render.instant import seconds
from meterhouse.usage.export import Format
from meterhouse.wire import envelope, refusals
from meterhouse.wire.accept import choose
from meterhouse.wire.expand import check_expand
from meterhouse.wire.params import Between, Items, RequestParams, Timestamp

_TYPES: dict[str, Format] = {
    "application/json": "json",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
}
_EXPORTED = "usage.exported"
_WITH_CHARSET = {"text/csv": "text/csv; charset=utf-8"}


class UsageParams(RequestParams, kw_only=True):
    """The parameters; `starts_at` is inclusive, `ends_at` exclusive.

    Without `customer` all customers are added up. `as_of` leaves out what was received later.
    With `timezone` (UTC without it) rows also have the local date or hour that is meant.
    `byte_order_mark` lets CSV begin with the mark by which Excel knows that it is UTF-8.
    """

    starts_at: Timestamp
    ends_at: Timestamp
    meters: Annotated[list[MeterParams], Items(limits.METER_USAGE_METERS_ITEMS_MAX)]
    customer: str | None = None
    group_by: Literal["customer"] | None = None
    top: Annotated[int, Between(1, limits.USAGE_TOP_GROUPS_MAX)] | None = None
    as_of: Timestamp | None = None
    timezone: str | None = None
    value_grouping_window: GroupingWindow | None = None
    byte_order_mark: bool = False


async def retrieve(call: Call) -> Answer:
    """Tell how much all customers used, or one of them, as a file in the format that is wanted."""
    params = call.params(UsageParams)
    check_expand(params.expand)
    check_zone(params.timezone or "UTC")
    check_range(params.starts_at * 1000, params.ends_at * 1000, ("starts_at", "ends_at"))
    check_windows(params.starts_at * 1000, params.ends_at * 1000, params.value_grouping_window)
    if params.as_of is not None and params.as_of * 1000 > call.now:
        raise refusals.as_of_in_future()
    type_ = choose(call.headers.get(b"accept", b"").decode("latin-1"), tuple(_TYPES))
    if type_ is None:
        raise refusals.not_acceptable()
    strong = call.strong or params.as_of is not None  # what was known then does not change
    settled, refreshed_at = await call.services.freshness.reach(strong=strong)
    about = {
        "object": "meterhouse.usage",
        "as_of": params.as_of,
        "livemode": call.scope.livemode,
        "refreshed_at": seconds(refreshed_at),
        "timezone": params.timezone or "UTC",
        "timezone_rules": zones.rules().version,
    }
    format_ = _TYPES[type_]
    if format_ == "csv" and params.byte_order_mark:
        format_ = "csv for excel"
    try:
        file = await _write(call, params, format_, about)
    except ExportError as error:
        raise refusals.too_large_answer(str(error)) from None
    if format_ != "json" and call.method != "HEAD":
        await _noted(call, file)
    headers = {
        "Meterhouse-Consistency": "strong" if settled else "eventual",
        "Meterhouse-Refreshed-At": str(seconds(refreshed_at)),
        "Meterhouse-Timezone-Rules": zones.rules().version,
    }
    return Answer(200, b"", headers, _WITH_CHARSET.get(type_, type_), file)


async def _noted(call: Call, file: IO[bytes]) -> None:
    """Write into the audit log that usage is taken away; without an entry none is."""
    try:
        await call.services.stores.write(lambda connection: call.note(connection, _EXPORTED, None))
    except BaseException:
        file.close()
        raise


async def _write(
    call: Call, params: UsageParams, format_: Format, about: dict[str, Any]
) -> IO[bytes]:
    """Return the answer as a file to read.

    The meters are looked up after the wait for what is fresh, because what came after a meter has
    switched to other dimensions is in the slots of the new version alone. Those of the former one
    do not stay for as long as a file may take, so the answer is made again if a meter has changed.
    """
    overview = await call.read(_overview, call, params)
    while True:
        writing = call.services.exports.write(call.sender, overview, format_, about)
        file = await until_gone(call.receive, writing)
        asked, overview = overview, await call.read(_overview, call, params)
        if overview == asked:
            return file
        file.close()


def _overview(connection: sa.Connection, call: Call, params: UsageParams) -> Overview:
    """Find the customer and the meters that a request names; refuse what is not there."""
    scope = call.scope.id
    if params.customer and not customers.find_customer(connection, scope, params.customer):
        raise envelope.no_such("customer", params.customer, "customer")
    questions = _questions(connection, scope, params)
    grouped = params.group_by is not None or any(one.groups for one in questions)
    if params.top is not None and not grouped:
        raise refusals.top_without_groups()
    query = MeterUsageQuery(
        scope=call.scope,
        customer=params.customer,
        start=params.starts_at * 1000,
        end=params.ends_at * 1000,
        questions=questions,
        window=params.value_grouping_window,
        zone=params.timezone or "UTC",
        as_of=None if params.as_of is None else params.as_of * 1000,
    )
    return Overview(
        query=query,
        by_customer=params.group_by == "customer",
        top=params.top,
        local=params.timezone is not None,
        decimal=call.exact,
    )


def _questions(
    connection: sa.Connection, scope: int, params: UsageParams
) -> tuple[MeterQuestion, ...]:
    found = meters.by_ids(connection, [one.meter for one in params.meters])
    questions: list[MeterQuestion] = []
    for index, one in enumerate(params.meters):
        meter, param = found.get(one.meter), f"meters[{index}]"
        if meter is None or meter.scope != scope:
            raise envelope.no_such("billing meter", one.meter, f"{param}[meter]")
        questions.append(question(meter, one, param))
    return tuple(questions)
