"""What the tests of listening Stripe CLIs tell of, and a CLI to tell it to."""

from typing import Any

from meterhouse.delivery.listener import Device, Event, Listener
from meterhouse.metering.model import Scope
from meterhouse.usage.request_logs import RequestLog
from meterhouse.wire.notification import Notification
from meterhouse.wire.stripecli import EVERY_LOG, Feature, LogFilters

NOW = 1_795_262_400_000  # 2026-11-21T12:00:00Z
DEVICE = Device("laptop", "cli_1", "whsec_1")


def event(number: int = 1, **changes: Any) -> Event:
    """Return an event of the listener's own account, thin unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "id": f"evt_{number}",
        "scope": 1,
        "payload": "thin",
        "type": "v1.billing.meter.no_meter_found",
        "created": NOW,
    }
    return Event(Notification(**(values | changes)), None)


def request_log(number: int = 1, **changes: Any) -> RequestLog:
    """Return the log of a request that went well, unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "account": "acct_1",
        "livemode": False,
        "created": NOW,
        "request": f"req_{number}",
        "method": "POST",
        "path": "/v1/customers",
        "status": 200,
        "microseconds": 1_500,
        "version": "2026-10-28.endive",
        "ip": "127.0.0.1",
        "error": "",
    }
    return RequestLog(**(values | changes))


def listener(
    *features: Feature, filters: LogFilters = EVERY_LOG, dropped: list[int] | None = None
) -> Listener:
    """Return a CLI that has not connected yet; what is thrown away is noted in `dropped`."""
    noted = [] if dropped is None else dropped
    return Listener(
        "cliws_1",
        Scope(1, "acct_1", False),
        None,
        DEVICE,
        frozenset(features),
        0,
        NOW,
        lambda: noted.append(1),
        filters,
    )
