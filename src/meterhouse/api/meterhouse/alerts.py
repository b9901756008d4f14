"""`/meterhouse/v1/alerts`: what Stripe's alerts cannot say, their history, and a forecast.

They are the objects of `/v1/billing/alerts`, where they are activated, deactivated and archived,
too.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import sqlalchemy as sa
from msgspec import field

from meterhouse import limits
from meterhouse.api import alert
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.billing.alert import Alert, Measure, Pace, Recurs, Trigger
from meterhouse.billing.money import print_decimal
from meterhouse.billing.period import Period
from meterhouse.ledger import alert_triggers, alerts, customers, meters, test_clocks
from meterhouse.metering.model import Meter
from meterhouse.metering.usage import PeriodQuery
from meterhouse.metering.window import MILLISECONDS
from meterhouse.render.alert import render_own, render_step, render_trigger
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.usage.crossing import Crossed, Crossing
from meterhouse.usage.store import UsageStore
from meterhouse.wire import alert_errors, envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Items, Keys, Length, RequestParams

_DIGITS = limits.ALERT_DECIMAL_DIGITS_MAX
_DECIMAL = re.compile(rf"[0-9]{{1,{_DIGITS}}}(?:\.[0-9]{{1,{_DIGITS}}})?", re.ASCII)
_DIMENSIONS = Keys(
    limits.ALERT_DIMENSIONS_KEYS_MAX,
    limits.EVENT_PAYLOAD_KEY_CHARS_MAX,
    limits.EVENT_PAYLOAD_VALUE_CHARS_MAX,
)
_EXPANDABLE_IN_HISTORY = frozenset(("data.event",))


class OwnCreate(RequestParams, kw_only=True):
    """The parameters of a new alert; steps are percents where there is a budget."""

    budget: str | None = None
    customer: str | None = None
    dimensions: Annotated[dict[str, str], _DIMENSIONS] = field(default_factory=dict)
    hard_limit: bool = False
    meter: str
    recurrence: Recurs = "one_time"
    steps: Annotated[list[str], Items(limits.ALERT_STEPS_ITEMS_MAX)]
    title: Annotated[str, Length(limits.ALERT_TITLE_CHARS_MAX)]


class OwnList(PageParams):
    """The parameters of the list."""

    customer: str | None = None
    meter: str | None = None


class History(PageParams):
    """The parameters of an alert's history."""

    customer: str | None = None


class Forecast(RequestParams):
    """Of whom a forecast is made."""

    customer: str | None = None


async def create(call: Call) -> Answer:
    """Create an alert, which is active."""
    params = call.params(OwnCreate)
    check_expand(params.expand)
    new = Alert(
        id=new_id("alrt", call.scope.livemode),
        scope=call.scope.id,
        title=params.title,
        meter=params.meter,
        customer=params.customer,
        recurs=params.recurrence,
        dimensions=params.dimensions,
        steps=_steps(params.steps),
        budget=None if params.budget is None else _decimal("budget", params.budget),
        hard_limit=params.hard_limit,
        since=0,
        created=call.now,
    )

    def work(connection: sa.Connection) -> Answer:
        made = alert.create(connection, call, new, "meter", "customer")
        if made.dimensions and not _meter(connection, made).slotted:
            raise alert_errors.only_of_sums("dimensions")
        return ok(render_own(made, livemode=call.scope.livemode))

    return await once(call, work)


async def retrieve(call: Call) -> Answer:
    """Show an alert, whoever made it."""
    check_expand(call.params(RequestParams).expand)
    one = await call.read(alert.find, call)
    return ok(render_own(one, livemode=call.scope.livemode))


async def list_(call: Call) -> Answer:
    """List all alerts that are not archived, newest first."""
    params = call.params(OwnList)
    check_expand(params.expand)
    page = await call.read(
        alerts.list_alerts, call.scope.id, params, meter=params.meter, customer=params.customer
    )
    if page is None:
        raise envelope.no_such("billing alert", params.cursor, params.cursor_param)
    rows, has_more = page
    data = [render_own(one, livemode=call.scope.livemode) for one in rows]
    return ok(list_object(call.path, data, has_more))


async def history(call: Call) -> Answer:
    """List who has reached which step, newest first, and where that is wanted by which event."""
    params = call.params(History)
    check_expand(params.expand, _EXPANDABLE_IN_HISTORY)

    def read(connection: sa.Connection) -> tuple[Alert, Meter, list[Trigger], bool]:
        one = alert.find(connection, call)
        page = alert_triggers.list_triggers(connection, one.id, params, params.customer)
        if page is None:
            raise envelope.no_such("alert trigger", params.cursor, params.cursor_param)
        return one, _meter(connection, one), *page

    one, meter, rows, has_more = await call.read(read)
    data = [render_trigger(one, row, livemode=call.scope.livemode) for row in rows]
    if params.expand:
        for row, document in zip(rows, data, strict=True):
            document["event"] = await _event(call, one, meter, row)
    return ok(list_object(call.path, data, has_more))


async def forecast(call: Call) -> Answer:
    """Tell when a customer will reach each step, if it goes on like that."""
    params = call.params(Forecast)
    check_expand(params.expand)
    settled = await call.services.progress.reach(strong=call.strong)

    def read(connection: sa.Connection) -> tuple[Alert, Meter, str, int]:
        one = alert.find(connection, call)
        customer = one.customer or params.customer
        if customer is None or params.customer not in (None, customer):
            raise alert_errors.customer_of_forecast()
        if customers.find_customer(connection, call.scope.id, customer) is None:
            raise envelope.no_such("customer", customer, "customer")
        frozen = test_clocks.frozen_times(connection, {(call.scope.id, customer)})
        now = frozen.get((call.scope.id, customer), call.now)
        return one, _meter(connection, one), customer, now

    one, meter, customer, now = await call.read(read)
    measure = one.measure
    period = measure.period_at(now)
    since = _pace_since(measure, period, now)
    ranges = [period] if since == period.start else [period, Period(since, now)]
    questions = [PeriodQuery(meter, customer, *range_, measure.dimensions) for range_ in ranges]
    found = await call.usage(UsageStore.periods, call.scope, questions)
    total = found[0].usage
    pace = Pace(found[-1].usage, max(now - since, 1)) if meter.slotted else None
    document = {
        "object": "meterhouse.alert_forecast",
        "alert": one.id,
        "customer": customer,
        "livemode": call.scope.livemode,
        "now": seconds(now),
        "pace": None
        if pace is None
        else {"since": seconds(since), "used": print_decimal(pace.used)},
        "steps": [
            {**render_step(step), "reached_at": _reached_at(pace, total, step.gte, now, period)}
            for step in one.lines
        ],
        "total": print_decimal(total),
    }
    answer = ok(document)
    consistency = "strong" if settled else "eventual"
    return answer._replace(headers={"Meterhouse-Consistency": consistency})


def _reached_at(
    pace: Pace | None, total: Decimal, gte: Decimal, now: int, period: Period
) -> int | None:
    """Return when a step is reached within the period; that is now where it has been."""
    if pace is None:
        return seconds(now) if total >= gte else None
    at = pace.reaches(total, gte, now)
    return None if at is None or at >= period.end else seconds_or_none(at)


def _pace_since(measure: Measure, period: Period, now: int) -> int:
    """Return from when on usage tells the pace: the period's beginning, or some days ago."""
    if measure.recurs != "one_time":
        return period.start
    return now - limits.ALERT_PACE_DAYS * MILLISECONDS["day"]


async def _event(call: Call, one: Alert, meter: Meter, trigger: Trigger) -> dict[str, Any] | None:
    """Return the event at which a step was reached, None where that cannot be told any more."""
    if meter.event_time_window is not None:
        return None
    crossed = Crossed(
        call.scope,
        meter,
        trigger.customer,
        trigger.period_start,
        trigger.period_end,
        trigger.gte,
        one.measure.dimensions,
    )
    found: Crossing | None = await call.usage(UsageStore.crossing, crossed)
    if found is None:
        return None
    return {
        "identifier": found.identifier,
        "timestamp": seconds(found.timestamp),
        "total": print_decimal(found.total),
        "value": print_decimal(found.value),
    }


def _meter(connection: sa.Connection, one: Alert) -> Meter:
    return meters.by_ids(connection, {one.meter})[one.meter]


def _steps(texts: Sequence[str]) -> tuple[Decimal, ...]:
    steps = tuple(_decimal(f"steps[{number}]", text) for number, text in enumerate(texts))
    for number, step in enumerate(steps[1:], 1):
        if step <= steps[number - 1]:
            raise alert_errors.steps_not_rising(number)
    return steps


def _decimal(name: str, text: str) -> Decimal:
    number = Decimal(text) if _DECIMAL.fullmatch(text) else Decimal(0)
    if number <= 0:
        raise alert_errors.invalid_decimal(name, text)
    return number
