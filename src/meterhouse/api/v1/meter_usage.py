"""`/v1/billing/analytics/meter_usage`: a customer's usage by windows, dimensions and tenants.

The preview of 2025-09-30 gave most things another name. So one answer has three shapes, and the
version of the request chooses (`ApiVersion.meter_usage`): as the former previews name things, as
the later ones do, and as the guide shows them, whose sample code reads them by both names.

https://docs.stripe.com/billing/subscriptions/usage-based/analytics
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.embed_tokens import check_customer, check_meter
from meterhouse.api.meter_question import (
    QuestionParams,
    check_range,
    check_rows,
    check_windows,
    check_zone,
    question,
)
from meterhouse.ledger import customers, meters
from meterhouse.metering.meter_usage import MeterQuestion, MeterUsageQuery, UsageRow
from meterhouse.metering.value import print_value
from meterhouse.metering.window import GroupingWindow
from meterhouse.render.instant import seconds
from meterhouse.usage import selection
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope, refusals
from meterhouse.wire.body import number, to_json
from meterhouse.wire.embed import Embed
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import derived_id
from meterhouse.wire.page import list_object
from meterhouse.wire.params import Items, RequestParams, Timestamp


class MeterParams(QuestionParams, kw_only=True):
    """A meter that is asked about."""

    meter: str


class FormerMeterParams(QuestionParams, kw_only=True):
    """The same, as the first previews name it."""

    meter_id: str


class _Common(RequestParams, kw_only=True):
    customer: str
    timezone: str = "UTC"
    value_grouping_window: GroupingWindow | None = None


class MeterUsageParams(_Common, kw_only=True):
    """The parameters; `starts_at` is inclusive, `ends_at` exclusive."""

    starts_at: Timestamp
    ends_at: Timestamp
    meters: Annotated[list[MeterParams], Items(limits.METER_USAGE_METERS_ITEMS_MAX)] | None = None


class FormerMeterUsageParams(_Common, kw_only=True):
    """The same, as the first previews name them."""

    start_time: Timestamp
    end_time: Timestamp
    meters: (
        Annotated[list[FormerMeterParams], Items(limits.METER_USAGE_METERS_ITEMS_MAX)] | None
    ) = None


class _Asked(NamedTuple):
    """A request in the names of none; `meters` are ids, None asks for all of them together."""

    common: _Common
    start: int
    end: int
    range_names: tuple[str, str]
    meters: list[tuple[str, QuestionParams]] | None
    meter_name: str


async def retrieve(call: Call) -> Answer:
    """Tell how much a customer used, of some meters or of all together."""
    asked = _read(call)
    common = asked.common
    check_expand(common.expand)
    if call.credential.embed is not None:
        _check_permitted(call.credential.embed, asked)
    check_zone(common.timezone)
    check_range(asked.start, asked.end, asked.range_names)
    windows = check_windows(asked.start, asked.end, common.value_grouping_window)
    settled, refreshed_at = await call.services.freshness.reach(strong=call.strong)
    # Only now: while this waited, a meter may have switched to other dimensions, and what came
    # since is in the slots of the new version alone.
    query = await call.read(_query, call, asked)
    found = await call.usage(UsageStore.found, query)
    if (
        windows > limits.METER_USAGE_INLINE_WINDOWS_MAX
        or sum(map(len, found)) > limits.METER_USAGE_INLINE_BYTES_MAX
    ):
        body = await asyncio.to_thread(_body, call, query, found, refreshed_at)
    else:
        body = _body(call, query, found, refreshed_at)
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, body, headers)


def _read(call: Call) -> _Asked:
    if call.version.meter_usage == "former":
        former = call.params(FormerMeterUsageParams)
        return _Asked(
            former,
            former.start_time * 1000,
            former.end_time * 1000,
            ("start_time", "end_time"),
            None if former.meters is None else [(one.meter_id, one) for one in former.meters],
            "meter_id",
        )
    params = call.params(MeterUsageParams)
    return _Asked(
        params,
        params.starts_at * 1000,
        params.ends_at * 1000,
        ("starts_at", "ends_at"),
        None if params.meters is None else [(one.meter, one) for one in params.meters],
        "meter",
    )


def _check_permitted(permitted: Embed, asked: _Asked) -> None:
    """Refuse what an embed token is not bound to."""
    check_customer(permitted, asked.common.customer)
    if asked.meters is None:
        raise refusals.every_meter_not_embedded()
    for index, (meter, how) in enumerate(asked.meters):
        dimensions = (*how.dimension_group_by_keys, *how.dimension_filters)
        tenants = (*how.tenant_group_by_keys, *how.tenant_filters)
        check_meter(permitted, meter, dimensions, tenants, f"meters[{index}]")


def _query(connection: sa.Connection, call: Call, asked: _Asked) -> MeterUsageQuery:
    """Find the customer and the meters that a request names; refuse what is not there."""
    common, scope = asked.common, call.scope
    customer = customers.find_customer(connection, scope.id, common.customer)
    if customer is None:
        raise envelope.no_such("customer", common.customer, "customer")
    return MeterUsageQuery(
        scope=scope,
        customer=customer.id,
        start=asked.start,
        end=asked.end,
        questions=_questions(connection, scope.id, asked),
        window=common.value_grouping_window,
        zone=common.timezone,
        together=asked.meters is None,
    )


def _questions(connection: sa.Connection, scope: int, asked: _Asked) -> tuple[MeterQuestion, ...]:
    if asked.meters is None:
        return tuple(MeterQuestion(meter) for meter in meters.of_scope(connection, scope))
    found = meters.by_ids(connection, [id_ for id_, _ in asked.meters])
    questions: list[MeterQuestion] = []
    for index, (id_, how) in enumerate(asked.meters):
        meter, param = found.get(id_), f"meters[{index}]"
        if meter is None or meter.scope != scope:
            raise envelope.no_such("billing meter", id_, f"{param}[{asked.meter_name}]")
        questions.append(question(meter, how, param))
    return tuple(questions)


def _body(call: Call, query: MeterUsageQuery, found: list[bytes], refreshed_at: int) -> bytes:
    """Render an answer in the shape of the request's version."""
    rows = selection.rows(query, found)
    check_rows(rows)
    told = (_told(query, row, exact=call.exact) for row in rows)
    shape, refreshed = call.version.meter_usage, seconds(refreshed_at)
    document: dict[str, Any] = {
        "object": "billing.analytics.meter_usage",
        "livemode": query.scope.livemode,
    }
    if shape == "rows":
        data = _rows(_ids(query, rows), told, _Row, "billing.analytics.meter_usage_row")
        document["refreshed_at"] = refreshed
        document["rows"] = list_object(call.path, data, has_more=False) | {"total": len(data)}
    elif shape == "page":
        document["data_refreshed_at"] = refreshed
        document["data"] = [_Point(*one, *one[:3]) for one in told]
    else:
        document["object"] = "billing.meter_usage"
        document["data_refreshed_at"] = refreshed
        document["data"] = _rows(_ids(query, rows), told, _FormerRow, "billing.meter_usage_row")
    return to_json(document)


# An answer may have thousands of rows. Structs are made and encoded several times faster than
# dicts, and no collection looks through them.
class _Row(msgspec.Struct, gc=False):
    """A row; tenants, and the value as text, are only told where they were asked for."""

    id: str
    object: str
    starts_at: int
    ends_at: int
    value: msgspec.Raw
    meter: str | None
    dimensions: dict[str, str] | None
    tenants: dict[str, str] | msgspec.UnsetType
    value_decimal: str | msgspec.UnsetType


class _FormerRow(msgspec.Struct, gc=False):
    """The same, as the former previews name it."""

    id: str
    object: str
    bucket_start_time: int
    bucket_end_time: int
    bucket_value: msgspec.Raw
    meter_id: str | None
    dimensions: dict[str, str] | None
    tenants: dict[str, str] | msgspec.UnsetType
    value_decimal: str | msgspec.UnsetType


class _Point(msgspec.Struct, gc=False):
    """The same by both names, as the guide's sample code reads it."""

    starts_at: int
    ends_at: int
    value: msgspec.Raw
    meter: str | None
    dimensions: dict[str, str] | None
    tenants: dict[str, str] | msgspec.UnsetType
    value_decimal: str | msgspec.UnsetType
    bucket_start_time: int
    bucket_end_time: int
    bucket_value: msgspec.Raw


RowT = TypeVar("RowT", _Row, _FormerRow)


# What is in a row, in the order of the fields of any shape.
_Told = tuple[
    int,
    int,
    msgspec.Raw,
    str | None,
    dict[str, str] | None,
    dict[str, str] | msgspec.UnsetType,
    str | msgspec.UnsetType,
]


def _rows(ids: Iterable[str], told: Iterable[_Told], shape: type[RowT], kind: str) -> list[RowT]:
    return [shape(id_, kind, *one) for id_, one in zip(ids, told, strict=True)]


def _told(query: MeterUsageQuery, row: UsageRow, *, exact: bool) -> _Told:
    value = print_value(row.value)
    return (
        seconds(row.start),
        seconds(row.end),
        number(value),
        _meter(query, row.question),
        row.dimensions or None,
        row.tenants or msgspec.UNSET,
        value if exact else msgspec.UNSET,
    )


def _meter(query: MeterUsageQuery, question: int | None) -> str | None:
    return None if question is None else query.questions[question].meter.id


def _ids(query: MeterUsageQuery, rows: Iterable[UsageRow]) -> Iterator[str]:
    """Yield an id for each row, the same whenever the same is asked."""
    livemode = query.scope.livemode
    asked = {number: repr(one) for number, one in _asked(query).items()}
    for row in rows:
        group = repr((*row.dimensions.values(), *row.tenants.values()))
        yield derived_id("mtrusgrow", livemode, asked[row.question], row.start, row.end, group)


def _asked(query: MeterUsageQuery) -> dict[int | None, tuple[Any, ...]]:
    """Return what tells the rows of one question from those of any other."""
    whose = (query.scope.account, query.customer)
    if query.together:
        return {None: whose}
    return {
        number: (*whose, one.meter.id, one.groups, one.filters)
        for number, one in enumerate(query.questions)
    }
