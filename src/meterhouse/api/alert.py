"""Alerts: what requests of Stripe's API and of our own have in common."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Call
from meterhouse.billing.alert import Alert
from meterhouse.ledger import alerts, customers, journal, meters
from meterhouse.ledger.audit import Change
from meterhouse.render.alert import render_alert
from meterhouse.render.meter import render_meter
from meterhouse.wire import alert_errors, envelope

_What = Literal["activated", "archived", "deactivated"]
_STATUS: Mapping[_What, Literal["active", "archived", "inactive"]] = {
    "activated": "active",
    "archived": "archived",
    "deactivated": "inactive",
}


def find(connection: sa.Connection, call: Call) -> Alert:
    """Return the alert that the path names; refuse with 404 when there is none."""
    alert = alerts.find_alert(connection, call.scope.id, call.ids[0])
    if alert is None:
        raise alert_errors.no_such_alert(call.ids[0])
    return alert


def create(
    connection: sa.Connection, call: Call, alert: Alert, meter_param: str, customer_param: str
) -> Alert:
    """Store a new alert, which is evaluated when usage is reported from now on.

    The parameters are those that name its meter and its customer.
    """
    meter = meters.find_meter(connection, alert.scope, alert.meter)
    if meter is None:
        raise envelope.no_such("billing meter", alert.meter, meter_param)
    if not meter.active:
        raise alert_errors.inactive_meter(meter.id, meter_param)
    if alert.customer is not None:
        customer = customers.find_customer(connection, alert.scope, alert.customer)
        if customer is None or customer.deleted_at is not None:
            raise envelope.no_such("customer", alert.customer, customer_param)
    _check_room(connection, alert)
    made = msgspec.structs.replace(alert, since=journal.watermark(connection))
    alerts.create_alert(connection, made)
    call.note(connection, "alert.created", made.id)
    return made


def turn(connection: sa.Connection, call: Call, what: _What) -> Alert:
    """Activate, deactivate or archive the alert of the path; one that is so stays as it is."""
    before = find(connection, call)
    status = _STATUS[what]
    if before.status == status:
        return before
    if before.status == "archived":
        raise alert_errors.archived(before.id)
    alert = msgspec.structs.replace(before, status=status)
    if status == "active":
        _check_room(connection, alert)
        alert = msgspec.structs.replace(alert, since=journal.watermark(connection))
    alerts.update_alert(connection, alert)
    call.note(connection, f"alert.{what}", alert.id, {"status": Change(before.status, status)})
    return alert


def shown(
    connection: sa.Connection, call: Call, rows: Sequence[Alert], *, expand_meter: bool
) -> list[dict[str, Any]]:
    """Return alerts as they are shown, with their meters where those are expanded."""
    livemode, version = call.scope.livemode, call.version
    known = meters.by_ids(connection, {one.meter for one in rows}) if expand_meter else {}
    rendered = {
        id_: render_meter(one, livemode=livemode, version=version) for id_, one in known.items()
    }
    return [
        render_alert(one, livemode=livemode, version=version, meter=rendered.get(one.meter))
        for one in rows
    ]


def _check_room(connection: sa.Connection, alert: Alert) -> None:
    """Refuse an active alert more than there may be for one customer."""
    count = alerts.count_active(connection, alert.meter, alert.customer)
    if count >= limits.ALERT_ACTIVE_ITEMS_MAX:
        raise alert_errors.too_many(limits.ALERT_ACTIVE_ITEMS_MAX)
