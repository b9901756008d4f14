"""What several tests of this room put into a ledger."""

from typing import Any

from meterhouse.ledger.accounts import create_account, default_account, scopes_of
from meterhouse.ledger.destinations import Destination, Secret
from meterhouse.ledger.engine import Ledger
from meterhouse.wire.notification import Notification


def two_scopes(ledger: Ledger) -> tuple[int, int]:
    """Return the two scopes of the default account."""
    with ledger.write() as connection:
        test, live = scopes_of(connection, default_account(connection, now=1).id)
        return test.id, live.id


def connected(ledger: Ledger) -> int:
    """Make a connected account and return its scope in test mode."""
    with ledger.write() as connection:
        return scopes_of(connection, create_account(connection, None, now=1).id)[0].id


def snapshot(
    scope: int, event_id: str, type_: str = "billing.meter.created", **more: Any
) -> Notification:
    values: dict[str, Any] = {
        "id": event_id,
        "scope": scope,
        "payload": "snapshot",
        "type": type_,
        "created": 1_000,
        "object_id": "mtr_1",
        "object_type": "billing.meter",
        "object_url": "/v1/billing/meters/mtr_1",
        "body": {"object": {"id": "mtr_1"}},
        "request_id": "req_1",
    }
    return Notification(**(values | more))


def thin(
    scope: int, event_id: str, type_: str = "v1.billing.meter.no_meter_found", **more: Any
) -> Notification:
    values: dict[str, Any] = {
        "id": event_id,
        "scope": scope,
        "payload": "thin",
        "type": type_,
        "created": 1_000,
    }
    return Notification(**(values | more))


def destination(scope: int, destination_id: str, **more: Any) -> Destination:
    values: dict[str, Any] = {
        "id": destination_id,
        "scope": scope,
        "name": "",
        "description": "",
        "url": "https://example.com/hook",
        "local": True,
        "payload": "snapshot",
        "enabled_events": ["*"],
        "events_from": ["@self"],
        "api_version": None,
        "metadata": {},
        "enabled": True,
        "secrets": [Secret("whsec_1", None)],
        "created": 1_000,
        "updated": 1_000,
    }
    return Destination(**(values | more))
