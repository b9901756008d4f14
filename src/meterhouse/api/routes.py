"""The whole surface on one page: method, path, what a restricted key needs, handler."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from meterhouse.api import health
from meterhouse.api.call import Answer, Call
from meterhouse.api.house import House
from meterhouse.api.meterhouse import verification
from meterhouse.api.rate_limits import Limit
from meterhouse.api.v1 import (
    account,
    customers,
    event_summaries,
    meter_event_adjustments,
    meter_events,
    meters,
)
from meterhouse.api.v2 import meter_event_adjustments as v2_meter_event_adjustments
from meterhouse.api.v2 import meter_event_session, meter_event_stream
from meterhouse.api.v2 import meter_events as v2_meter_events
from meterhouse.wire.credentials import Access

Handler = Callable[[Call], Awaitable[Answer]]
OpenHandler = Callable[[House, str | None], Awaitable[Answer]]


class Route(NamedTuple):
    """One row. A part of the path in braces stands for any one part and is handed to the handler.

    `open` answers without an API key; it is handed the `Authorization` header as it came. `session`
    takes the token of a session as well. `limit` is what a request counts towards in the limits
    profile `stripe`; where it is None the handler counts.
    """

    method: str
    path: str
    resource: str
    access: Access
    handler: Handler
    open: OpenHandler | None = None
    session: bool = False
    limit: Limit | None = "basic"


def _route(method: str, path: str, resource: str, handler: Handler) -> Route:
    return Route(method, path, resource, "read" if method == "GET" else "write", handler)


async def _closed(_: Call) -> Answer:
    raise AssertionError("an open route has no handler for calls")


def _open(method: str, path: str, handler: OpenHandler) -> Route:
    return Route(method, path, "", "read", _closed, handler)


_METER = "/v1/billing/meters/{id}"
_CUSTOMER = "/v1/customers/{id}"

ROUTES: tuple[Route, ...] = (
    _route(
        "POST", "/v1/billing/meter_events", "billing_meter_events", meter_events.create
    )._replace(limit="meter_events"),
    _route(
        "POST",
        "/v1/billing/meter_event_adjustments",
        "billing_meter_event_adjustments",
        meter_event_adjustments.create,
    ),
    _route("POST", "/v1/billing/meters", "billing_meters", meters.create),
    _route("GET", "/v1/billing/meters", "billing_meters", meters.list_),
    _route("GET", _METER, "billing_meters", meters.retrieve),
    _route("POST", _METER, "billing_meters", meters.update),
    _route("POST", _METER + "/deactivate", "billing_meters", meters.deactivate),
    _route("POST", _METER + "/reactivate", "billing_meters", meters.reactivate),
    _route(
        "GET", _METER + "/event_summaries", "billing_meter_event_summaries", event_summaries.list_
    ),
    _route("POST", "/v1/customers", "customers", customers.create),
    _route("GET", "/v1/customers", "customers", customers.list_),
    _route("GET", _CUSTOMER, "customers", customers.retrieve),
    _route("POST", _CUSTOMER, "customers", customers.update),
    _route("DELETE", _CUSTOMER, "customers", customers.delete),
    _route("GET", "/v1/account", "account", account.retrieve),
    _route(
        "POST",
        "/v2/billing/meter_event_session",
        "billing_meter_events",
        meter_event_session.create,
    ),
    _route(
        "POST", "/v2/billing/meter_event_stream", "billing_meter_events", meter_event_stream.create
    )._replace(session=True, limit=None),
    _route(
        "POST", "/v2/billing/meter_events", "billing_meter_events", v2_meter_events.create
    )._replace(limit="meter_events"),
    _route(
        "POST",
        "/v2/billing/meter_event_adjustments",
        "billing_meter_event_adjustments",
        v2_meter_event_adjustments.create,
    ),
    _open("GET", "/healthz", health.live),
    _open("GET", "/readyz", health.ready),
    _open("GET", "/metrics", health.metrics),
    _open("POST", "/meterhouse/v1/verification", verification.start),
    _open("GET", "/meterhouse/v1/verification", verification.retrieve),
)


class Routes:
    """Finds a row: by the exact path first, else part by part."""

    def __init__(self, rows: tuple[Route, ...] = ROUTES) -> None:
        self._exact = {(row.method, row.path): row for row in rows if "{" not in row.path}
        self._patterns = [(row, row.path.split("/")) for row in rows if "{" in row.path]

    def find(self, method: str, path: str) -> tuple[Route | None, tuple[str, ...]]:
        """Return the row for a request and the variable parts of its path."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact, ()
        parts = path.split("/")
        for row, pattern in self._patterns:
            if row.method == method and len(parts) == len(pattern):
                ids = _match(pattern, parts)
                if ids is not None:
                    return row, ids
        return None, ()


def _match(pattern: list[str], parts: list[str]) -> tuple[str, ...] | None:
    ids: list[str] = []
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            if not part or "\0" in part:  # no id has one, and not every database takes one
                return None
            ids.append(part)
        elif wanted != part:
            return None
    return tuple(ids)
