"""`/v1/billing/alerts` (https://docs.stripe.com/api/billing/alert)."""

from decimal import Decimal
from typing import Annotated, Literal, NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api import alert
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.billing.alert import Alert
from meterhouse.ledger import alerts
from meterhouse.wire import envelope, param_errors
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Between, Items, Length, Params, RequestParams
from meterhouse.wire.version import ACACIA

Title = Annotated[str, Length(limits.ALERT_TITLE_CHARS_MAX)]
Gte = Annotated[int, Between(1, 2**63 - 1)]
AlertType = Literal["usage_threshold"]
Recurrence = Literal["one_time"]


class Filter(Params, kw_only=True):
    """Whose usage alone the alert is about."""

    customer: str | None = None
    type: Literal["customer"]


class UsageThreshold(Params, kw_only=True):
    """The usage that the alert is about, and when it is triggered."""

    filters: Annotated[list[Filter], Items(limits.ALERT_FILTERS_ITEMS_MAX)] | None = None
    gte: Gte
    meter: str
    recurrence: Recurrence


class AlertCreate(RequestParams):
    """The parameters of a new alert."""

    alert_type: AlertType
    title: Title
    usage_threshold: UsageThreshold | None = None


class FormerFilter(Params):
    """Whose usage alone the alert is about, before 2024-09-30.acacia."""

    customer: str | None = None


class FormerThreshold(Params):
    """When the alert is triggered, before 2024-09-30.acacia."""

    gte: Gte
    meter: str
    recurrence: Recurrence


class FormerCreate(RequestParams):
    """The parameters of a new alert before 2024-09-30.acacia."""

    alert_type: AlertType
    title: Title
    filter: FormerFilter | None = None
    usage_threshold_config: FormerThreshold | None = None


class AlertList(PageParams):
    """The parameters of the list."""

    alert_type: AlertType | None = None
    meter: str | None = None


class _Asked(NamedTuple):
    """What is asked for, by whatever names; the last two are those of its parameters."""

    title: str
    threshold: UsageThreshold | FormerThreshold
    customer: str | None
    threshold_param: str
    customer_param: str


async def create(call: Call) -> Answer:
    """Create an alert, which is active."""
    expand, asked = _former(call) if _is_former(call) else _present(call)
    _check_expand(call, expand)
    threshold = asked.threshold
    new = Alert(
        id=new_id("alrt", call.scope.livemode),
        scope=call.scope.id,
        title=asked.title,
        meter=threshold.meter,
        customer=asked.customer,
        steps=(Decimal(threshold.gte),),
        since=0,
        created=call.now,
    )

    def work(connection: sa.Connection) -> Answer:
        meter_param = f"{asked.threshold_param}[meter]"
        made = alert.create(connection, call, new, meter_param, asked.customer_param)
        return _shown(connection, call, made, expand)

    return await once(call, work)


async def retrieve(call: Call) -> Answer:
    """Show an alert."""
    expand = _expand(call)

    def work(connection: sa.Connection) -> Answer:
        return _shown(connection, call, alert.find(connection, call), expand)

    return await call.read(work)


async def activate(call: Call) -> Answer:
    """Activate an alert: usage that is reported from now on may trigger it."""
    return await _turned(call, "activated")


async def deactivate(call: Call) -> Answer:
    """Deactivate an alert: nothing triggers it."""
    return await _turned(call, "deactivated")


async def archive(call: Call) -> Answer:
    """Archive an alert for good: it is listed no more."""
    return await _turned(call, "archived")


async def list_(call: Call) -> Answer:
    """List the alerts that Stripe could have made, newest first."""
    params = call.params(AlertList)
    _check_expand(call, params.expand, listed=True)

    def work(connection: sa.Connection) -> Answer:
        page = alerts.list_alerts(connection, call.scope.id, params, meter=params.meter, plain=True)
        if page is None:
            raise envelope.no_such("billing alert", params.cursor, params.cursor_param)
        rows, has_more = page
        data = alert.shown(connection, call, rows, expand_meter=bool(params.expand))
        return ok(list_object(call.path, data, has_more))

    return await call.read(work)


async def _turned(call: Call, what: Literal["activated", "archived", "deactivated"]) -> Answer:
    expand = _expand(call)

    def work(connection: sa.Connection) -> Answer:
        return _shown(connection, call, alert.turn(connection, call, what), expand)

    return await once(call, work)


def _present(call: Call) -> tuple[list[str], _Asked]:
    params = call.params(AlertCreate)
    if params.usage_threshold is None:
        raise param_errors.missing_param("usage_threshold")
    threshold = params.usage_threshold
    customer_param = "usage_threshold[filters][0][customer]"
    customer = None
    for one in threshold.filters or ():
        if one.customer is None:
            raise param_errors.missing_param(customer_param)
        customer = one.customer
    asked = _Asked(params.title, threshold, customer, "usage_threshold", customer_param)
    return params.expand, asked


def _former(call: Call) -> tuple[list[str], _Asked]:
    params = call.params(FormerCreate)
    if params.usage_threshold_config is None:
        raise param_errors.missing_param("usage_threshold_config")
    customer = params.filter.customer if params.filter else None
    return params.expand, _Asked(
        params.title,
        params.usage_threshold_config,
        customer,
        "usage_threshold_config",
        "filter[customer]",
    )


def _is_former(call: Call) -> bool:
    return call.version.date < ACACIA


def _expand(call: Call) -> list[str]:
    params = call.params(RequestParams)
    _check_expand(call, params.expand)
    return params.expand


def _check_expand(call: Call, expand: list[str], *, listed: bool = False) -> None:
    parent = "usage_threshold_config" if _is_former(call) else "usage_threshold"
    check_expand(expand, {f"{'data.' if listed else ''}{parent}.meter"})


def _shown(connection: sa.Connection, call: Call, one: Alert, expand: list[str]) -> Answer:
    [document] = alert.shown(connection, call, [one], expand_meter=bool(expand))
    return ok(document)
