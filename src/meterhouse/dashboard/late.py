"""Late usage: what has changed since it was billed, and what becomes of it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.visit import Visit, question

_PATH = "/meterhouse/v1/late_usage"
_SHOWN = 50
_FILTERS = ("customer", "meter", "subscription")
_DAY = 86_400
_OVER = frozenset({"canceled", "incomplete_expired"})

# What the setting `late_usage` does.
SETTINGS: Mapping[str, str] = {
    "report": "It is listed here, and on no invoice.",
    "bill": "The next invoice of the subscription that ends a period bills it.",
    "credit": (
        "Where a range has become cheaper, the next invoice of the subscription credits it. "
        "What has become dearer is listed here, and on no invoice."
    ),
}

# What becomes of a row: how it is marked, and in which words.
FATES: Mapping[str, tuple[str, str]] = {
    "draft": ("warn", "on a draft"),
    "billed": ("warn", "on the next invoice"),
    "credited": ("warn", "credited with the next invoice"),
    "same": ("", "costs the same"),
    "ended": ("", "only listed: the subscription has ended"),
    "old": ("", "only listed: it is too old"),
    "listed": ("", "only listed"),
}


async def show(visit: Visit) -> Response:
    """List what has changed, what ended last first."""
    asked = question(visit.request.query_params, _FILTERS)
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    wrong = ""
    try:
        page = await visit.get(_PATH, [("limit", _SHOWN), *asked, *after])
    except ApiError as error:
        page, wrong = {"data": [], "has_more": False}, str(error)
    rows = page["data"]
    meters, names, subscriptions = await asyncio.gather(
        visit.meters(),
        visit.names(row["customer"] for row in rows),
        _subscriptions(visit, {row["subscription"] for row in rows if row["subscription"]}),
    )
    setting = visit.late_usage
    return visit.page(
        "late.html",
        here="billing",
        rows=[
            (row, *FATES[fate(row, subscriptions.get(row["subscription"]), setting)])
            for row in rows
        ],
        more=page["has_more"],
        names=names,
        meters=meters,
        meter_names={one["id"]: one["display_name"] for one in meters},
        kept=asked,
        asked=dict(asked),
        setting=setting,
        meaning=SETTINGS[setting],
        wrong=wrong,
    )


def fate(row: Mapping[str, Any], subscription: Mapping[str, Any] | None, setting: str) -> str:
    """Say which of the `FATES` a row has, by its subscription as it is now."""
    difference = row["amount_difference"]
    if row["draft"]:
        return "draft"
    if not difference:
        return "same"
    if setting == "report" or (setting == "credit" and difference > 0):
        return "listed"
    if subscription is None or subscription["status"] in _OVER:
        return "ended"
    begun = min(item["current_period_start"] for item in subscription["items"]["data"])
    if row["usage_end"] < begun - limits.LATE_USAGE_DAYS_MAX * _DAY:
        return "old"
    return "billed" if setting == "bill" else "credited"


async def _subscriptions(visit: Visit, ids: set[str]) -> dict[str, dict[str, Any]]:
    asked = (visit.get(f"/v1/subscriptions/{path_part(id_)}") for id_ in ids)
    return {one["id"]: one for one in await asyncio.gather(*asked)}
