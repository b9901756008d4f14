"""`/meterhouse/v1/request_logs`: the requests of the last days, and what came of them.

Those of the meter event stream are left out, as Stripe leaves them out of its own logs, because of
their number.
"""

import re
from typing import Any, Literal

import msgspec

from meterhouse.api.call import Answer, Call, ok
from meterhouse.metering.model import Scope
from meterhouse.usage.request_logs import Query, RequestLog
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.param_errors import invalid_status
from meterhouse.wire.params import TimeRange

_STATUS = re.compile(r"[1-5](?:[0-9]{2}|XX)")


class RequestLogList(PageParams):
    """The parameters of the list; a `path` may end in `*`, a `status` in `XX`."""

    created: TimeRange | None = None
    method: Literal["DELETE", "GET", "POST"] | None = None
    path: str | None = None
    status: str | None = None

    def __post_init__(self) -> None:
        """Refuse a status that no answer has."""
        super().__post_init__()
        if self.status is not None and not _STATUS.fullmatch(self.status):
            raise invalid_status("status", self.status)

    def query(self, scope: Scope) -> Query:
        """Return what asks for the first page, and for one more row, which tells of more."""
        start, end = self.created.window() if self.created else (None, None)
        statuses = None
        if self.status is not None:
            least, most = (int(self.status.replace("XX", digits)) for digits in ("00", "99"))
            statuses = (least, most)
        return Query(scope, self.limit + 1, self.method, self.path, statuses, start, end)


async def list_(call: Call) -> Answer:
    """List requests, newest first."""
    params = call.params(RequestLogList)
    check_expand(params.expand)
    if call.services.stores.shared:
        call.services.signals.send("logs")
    await call.services.request_logs.reach(strong=call.strong)
    query = await _at_cursor(call, params, params.query(call.scope))
    logs = await call.usage(UsageStore.request_logs, query)
    shown = logs[1:] if query.before and len(logs) > params.limit else logs[: params.limit]
    data = [_shown(log) for log in shown]
    return ok(list_object(call.path, data, has_more=len(logs) > params.limit))


async def _at_cursor(call: Call, params: RequestLogList, query: Query) -> Query:
    """Return `query`, cut at the log that the cursor names."""
    if not params.cursor:
        return query
    named = await call.usage(UsageStore.find_request_log, call.scope, params.cursor)
    if named is None:
        raise envelope.no_such("request log", params.cursor, params.cursor_param)
    place = (named.created, named.request)
    if params.ending_before is None:
        return query._replace(after=place)
    return query._replace(before=place)


def _shown(log: RequestLog) -> dict[str, Any]:
    return {
        "id": log.request,
        "object": "meterhouse.request_log",
        "api_version": log.version,
        "created": log.created // 1000,
        "duration_ms": log.microseconds // 1000,
        "error": msgspec.Raw(log.error.encode()) if log.error else None,
        "ip_address": log.ip or None,
        "livemode": log.livemode,
        "method": log.method,
        "path": log.path,
        "status": log.status,
    }
