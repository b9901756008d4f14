"""`/v1/billing/meters` (https://docs.stripe.com/api/billing/meter)."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.ledger import meters
from meterhouse.ledger.announce import announce
from meterhouse.ledger.audit import Change, Changes
from meterhouse.metering.model import Meter
from meterhouse.render.meter import render_meter
from meterhouse.wire import envelope, refusals
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Items, Length, Params, RequestParams
from meterhouse.wire.version import DEFAULT_VERSION

PayloadKey = Annotated[str, Length(limits.METER_PAYLOAD_KEY_CHARS_MAX)]
DisplayName = Annotated[str, Length(limits.METER_DISPLAY_NAME_CHARS_MAX)]


_What = Literal["created", "updated", "deactivated", "reactivated"]
_CHANGES: Mapping[_What, Changes] = {
    "created": {},
    "updated": {"display_name": Change()},
    "deactivated": {"status": Change("active", "inactive")},
    "reactivated": {"status": Change("inactive", "active")},
}


class DefaultAggregation(Params):
    """How the events of a window become one number."""

    formula: Literal["count", "last", "sum"]


class CustomerMapping(Params):
    """Where the payload names the customer."""

    event_payload_key: PayloadKey
    type: Literal["by_id"]


class ValueSettings(Params):
    """Where the payload has the value."""

    event_payload_key: PayloadKey


class MeterCreate(RequestParams):
    """The parameters of a new meter."""

    default_aggregation: DefaultAggregation
    display_name: DisplayName
    event_name: Annotated[str, Length(limits.METER_EVENT_NAME_CHARS_MAX)]
    customer_mapping: CustomerMapping | None = None
    event_time_window: Literal["day", "hour"] | None = None
    value_settings: ValueSettings | None = None
    dimension_payload_keys: (
        Annotated[
            list[str], Items(limits.METER_DIMENSION_KEYS_MAX, limits.METER_PAYLOAD_KEY_CHARS_MAX)
        ]
        | None
    ) = None


class MeterUpdate(RequestParams):
    """What can be changed of a meter."""

    display_name: DisplayName | None = None


class MeterList(PageParams):
    """The parameters of the list."""

    status: Literal["active", "inactive"] | None = None


async def create(call: Call) -> Answer:
    """Create a meter; its event name must not be in use by another active meter."""
    params = call.params(MeterCreate)
    check_expand(params.expand)
    mapping, settings = params.customer_mapping, params.value_settings
    dimensions = params.dimension_payload_keys
    meter = Meter(
        id=new_id("mtr", call.scope.livemode),
        scope=call.scope.id,
        event_name=params.event_name,
        display_name=params.display_name,
        formula=params.default_aggregation.formula,
        event_time_window=params.event_time_window,
        customer_key=mapping.event_payload_key if mapping else "stripe_customer_id",
        value_key=settings.event_payload_key if settings else "value",
        dimension_keys=tuple(dict.fromkeys(dimensions)) if dimensions else None,
        active=True,
        created=call.now,
        updated=call.now,
        deactivated_at=None,
    )

    def work(connection: sa.Connection) -> Answer:
        created = meters.create_meter(connection, meter)
        if created is None:
            raise refusals.meter_exists(meter.event_name)
        _announce(connection, call, "created", created)
        return _shown(call, created)

    return await once(call, work)


async def retrieve(call: Call) -> Answer:
    """Show a meter."""
    check_expand(call.params(RequestParams).expand)
    return _shown(call, await call.read(find, call))


async def update(call: Call) -> Answer:
    """Change a meter's display name."""
    params = call.params(MeterUpdate)
    check_expand(params.expand)

    def change(connection: sa.Connection, meter: Meter) -> Meter:
        if params.display_name is None:
            return meter
        return meters.rename_meter(connection, meter, params.display_name, call.now)

    return await _changed(call, "updated", change)


async def deactivate(call: Call) -> Answer:
    """Deactivate a meter; one that is inactive stays as it is."""
    check_expand(call.params(RequestParams).expand)

    def change(connection: sa.Connection, meter: Meter) -> Meter:
        return meters.deactivate_meter(connection, meter, call.now) if meter.active else meter

    return await _changed(call, "deactivated", change)


async def reactivate(call: Call) -> Answer:
    """Activate a meter; one that is active stays as it is."""
    check_expand(call.params(RequestParams).expand)

    def change(connection: sa.Connection, meter: Meter) -> Meter:
        if meter.active:
            return meter
        changed = meters.reactivate_meter(connection, meter, call.now)
        if changed is None:
            raise refusals.meter_exists(meter.event_name)
        return changed

    return await _changed(call, "reactivated", change)


async def list_(call: Call) -> Answer:
    """List meters, newest first."""
    params = call.params(MeterList)
    check_expand(params.expand)
    page = await call.read(meters.list_meters, call.scope.id, params, status=params.status)
    if page is None:
        raise envelope.no_such("billing meter", params.cursor, params.cursor_param)
    rows, has_more = page
    livemode = call.scope.livemode
    data = [render_meter(row, livemode=livemode, version=call.version) for row in rows]
    return ok(list_object(call.path, data, has_more))


def find(connection: sa.Connection, call: Call) -> Meter:
    """Return the meter that the path names; refuse with 404 when there is none."""
    meter = meters.find_meter(connection, call.scope.id, call.ids[0])
    if meter is None:
        raise envelope.no_such("billing meter", call.ids[0])
    return meter


async def _changed(
    call: Call, what: _What, change: Callable[[sa.Connection, Meter], Meter]
) -> Answer:
    def work(connection: sa.Connection) -> Answer:
        before = find(connection, call)
        meter = change(connection, before)
        if meter != before:
            _announce(connection, call, what, meter, before if what == "updated" else None)
        return _shown(call, meter)

    return await once(call, work)


def _announce(
    connection: sa.Connection, call: Call, what: _What, meter: Meter, before: Meter | None = None
) -> None:
    call.note(connection, f"meter.{what}", meter.id, _CHANGES[what])
    livemode, version = call.scope.livemode, DEFAULT_VERSION
    announce(
        connection,
        call.cause,
        f"billing.meter.{what}",
        f"/v1/billing/meters/{meter.id}",
        render_meter(meter, livemode=livemode, version=version),
        render_meter(before, livemode=livemode, version=version) if before else None,
    )


def _shown(call: Call, meter: Meter) -> Answer:
    return ok(render_meter(meter, livemode=call.scope.livemode, version=call.version))
