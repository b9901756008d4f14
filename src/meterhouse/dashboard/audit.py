"""The audit log, for admins: who changed what in this account, and in the installation."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard.client import ApiError
from meterhouse.dashboard.visit import Visit, question
from meterhouse.ledger.audit import ACTIONS

_PATH = "/meterhouse/v1/audit_log"
_FILTERS = ("action", "actor", "day", "object_id")
_ROWS = 50
_COLUMNS = ("id", "time", "action", "object", "actor", "actor_type", "address", "request")
_PAGES = {  # where an object is shown, by how its id begins
    "cus": "customers",
    "ed": "developers/destinations",
    "mtr": "meters",
    "we": "developers/destinations",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


async def list_(visit: Visit) -> Response:
    """List entries, newest first."""
    _check(visit)
    kept = question(visit.request.query_params, _FILTERS)
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    wrong = ""
    try:
        page = await visit.get(_PATH, [("limit", _ROWS), *_params(visit), *after])
    except ApiError as error:
        page, wrong = {"data": [], "has_more": False}, str(error)
    return visit.page(
        "audit.html",
        here="developers",
        entries=[entry | {"page": _page(entry["object_id"])} for entry in page["data"]],
        more=page["has_more"],
        kept=kept,
        asked=dict(kept),
        wrong=wrong,
        kinds=_kinds(),
    )


async def download(visit: Visit) -> Response:
    """Return the newest entries as CSV; without formulas, whatever somebody is called."""
    _check(visit)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*_COLUMNS, "account", "mode", "changes"))
    rows, after, more = 0, list[tuple[str, Any]](), True
    while more and rows < limits.AUDIT_CSV_ROWS_MAX:
        asked = [("limit", limits.PAGE_LIMIT_MAX), *_params(visit), *after]
        page = await visit.get(_PATH, asked)
        writer.writerows([_cell(value) for value in _row(entry)] for entry in page["data"])
        rows, more = rows + len(page["data"]), page["has_more"]
        after = [("starting_after", entry["id"]) for entry in page["data"][-1:]]
    headers = {"content-disposition": 'attachment; filename="audit-log.csv"'}
    return Response(text.getvalue(), headers=headers, media_type="text/csv")


def _check(visit: Visit) -> None:
    if not visit.session.may_change:
        raise ApiError(HTTPStatus.FORBIDDEN, "Only an admin sees the audit log.")


def _params(visit: Visit) -> list[tuple[str, Any]]:
    """Return what to ask the API for; a user who is bound sees nothing of the installation."""
    asked = dict(question(visit.request.query_params, _FILTERS))
    day = asked.pop("day", "")
    params: list[tuple[str, Any]] = list(asked.items())
    if day:
        start = _midnight(day)
        params += [
            ("created[gte]", int(start.timestamp())),
            ("created[lt]", int((start + timedelta(days=1)).timestamp())),
        ]
    return [*params, ("installation", "true")] if visit.session.unbound else params


def _midnight(day: str) -> datetime:
    try:
        found = date.fromisoformat(day)
    except ValueError:
        raise ApiError(HTTPStatus.BAD_REQUEST, "A day is written as 2026-11-21.") from None
    if not 1970 <= found.year <= 2200:  # noqa: PLR2004 - what the API takes
        raise ApiError(HTTPStatus.BAD_REQUEST, "There is no entry of such a day.")
    return datetime(found.year, found.month, found.day, tzinfo=UTC)


def _kinds() -> dict[str, list[str]]:
    """Return all actions by what they are done to."""
    kinds: dict[str, list[str]] = {}
    for action in ACTIONS:
        kinds.setdefault(action.partition(".")[0], []).append(action)
    return kinds


def _page(object_id: str | None) -> str:
    """Return the page that shows an object; empty where none does."""
    base = _PAGES.get((object_id or "").partition("_")[0])
    return f"{base}/{object_id}" if base else ""


def _row(entry: dict[str, Any]) -> list[Any]:
    mode = {None: "", True: "live", False: "test"}[entry["livemode"]]
    changes = (
        name if change["new"] is None else f"{name}: {change['old']} to {change['new']}"
        for name, change in entry["changes"].items()
    )
    return [
        entry["id"],
        datetime.fromtimestamp(entry["created"], UTC).isoformat(),
        entry["action"],
        entry["object_id"],
        entry["actor"]["name"],
        entry["actor"]["type"],
        entry["ip_address"],
        entry["request"],
        entry["account"],
        mode,
        ", ".join(changes),
    ]


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(_FORMULA) else text
