"""The overview: what is going on now, and what is wrong. It is live."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard.client import ApiError
from meterhouse.dashboard.streaming import event_stream
from meterhouse.dashboard.visit import Visit

_MINUTES5 = 300
_HOUR = 3_600
_DAY = 24 * _HOUR
_COLUMN = 1_800  # seconds of a column of the chart
_OUTCOMES = ("accepted", "duplicate", "rejected")
_TOP = 5
_CODES = 8  # kinds of problems
_FAILED = 20  # of the newest deliveries are looked at
_ACTIVITY = "/meterhouse/v1/activity"


class Column(NamedTuple):
    """One column of the chart of outcomes, with the heights of its parts in percent."""

    start: int
    counts: dict[str, int]
    heights: list[tuple[str, float, float]]  # outcome, from the top, height


class _Customers:
    """Who used most of the busiest meter, which takes a long look: a live page takes it rarely."""

    def __init__(self) -> None:
        self._meter = ""
        self._rows: list[dict[str, Any]] = []
        self._until = 0

    async def most(self, visit: Visit, meter: str) -> list[dict[str, Any]]:
        """Return the first ones, in the last 24 hours."""
        if meter != self._meter or visit.now >= self._until:
            self._rows = await _top_customers(visit, meter)
            self._meter, self._until = meter, visit.now + limits.DASHBOARD_LIVE_CUSTOMERS_SECONDS
        return self._rows


async def show(visit: Visit) -> Response:
    """Show the overview."""
    return visit.page("overview.html", here="overview", html=await _part(visit, _Customers()))


async def live(visit: Visit) -> Response:
    """Send the overview again whenever it has changed."""
    if visit.live.full():
        raise ApiError(503, "Too many people look at once.")
    customers = _Customers()
    key = ("overview", visit.space)
    pieces = visit.live.stream(key, lambda: _part(visit, customers), visit.over())
    return event_stream(visit.request, pieces)


async def _part(visit: Visit, customers: _Customers) -> str:
    now = visit.now
    day, hour = now - now % _COLUMN - _DAY + _COLUMN, now - _HOUR
    status, slots, by_meter, codes, meters, deliveries = await asyncio.gather(
        visit.get("/meterhouse/v1/status"),
        _activity(visit, day, ("outcome",), window="minute5"),
        _activity(visit, day, ("meter", "outcome")),
        _activity(visit, hour, ("code", "meter"), outcome="rejected"),
        visit.meters(),
        visit.items("/meterhouse/v1/deliveries", [("limit", _FAILED)]),
    )
    names = {one["id"]: one["display_name"] for one in meters}
    top = _top_meters(by_meter)
    return visit.render(
        "_overview.html",
        status=status,
        lag=max(0, int(status["created"]) - int(float(status["complete_until"]))),
        rate=_rate(slots, now),
        columns=columns(slots, day, now),
        counts={
            name: sum(r["events"] for r in slots if r["outcome"] == name) for name in _OUTCOMES
        },
        top=top,
        names=names,
        customers=await customers.most(visit, top[0][0]) if top else [],
        codes=sorted(codes, key=lambda one: -one["events"])[:_CODES],
        failing=[one for one in deliveries if _is_failing(one)],
        empty=not meters,
    )


def columns(rows: Iterable[dict[str, Any]], start: int, now: int) -> list[Column]:
    """Return a column for each half hour from `start` on, scaled to the highest."""
    counts: dict[int, dict[str, int]] = {
        at: dict.fromkeys(_OUTCOMES, 0) for at in range(start, now + 1, _COLUMN)
    }
    for row in rows:
        at = max(start, row["starts_at"] - row["starts_at"] % _COLUMN)
        counts[at][row["outcome"]] += row["events"]
    highest = max((sum(one.values()) for one in counts.values()), default=0) or 1
    return [Column(at, one, _heights(one, highest)) for at, one in counts.items()]


def _heights(counts: dict[str, int], highest: int) -> list[tuple[str, float, float]]:
    """Stack the outcomes; one that is there is visible, however few they are."""
    heights, top = [], 100.0
    for outcome in _OUTCOMES:
        if counts[outcome]:
            height = max(0.8, round(100 * counts[outcome] / highest, 2))
            top = max(0.0, top - height)
            heights.append((outcome, round(top, 2), height))
    return heights


async def _activity(
    visit: Visit, start: int, group_by: Sequence[str], **more: str
) -> list[dict[str, Any]]:
    pairs = [("starts_at", start), ("ends_at", visit.now + 1), *more.items()]
    pairs += [("group_by[]", name) for name in group_by]
    return await visit.items(_ACTIVITY, pairs)


def _rate(slots: list[dict[str, Any]], now: int) -> float:
    """Return the events a second of the five minutes that are running, as far as they have come.

    In their first minute those before count, too.
    """
    start = now - now % _MINUTES5
    if now - start < _MINUTES5 // 5:
        start -= _MINUTES5
    events: int = sum(row["events"] for row in slots if row["starts_at"] >= start)
    return round(events / max(1, now - start), 1)


def _top_meters(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    accepted = [(r["meter"], r["events"]) for r in rows if r["outcome"] == "accepted"]
    return sorted(accepted, key=lambda one: -one[1])[:_TOP]


async def _top_customers(visit: Visit, meter: str) -> list[dict[str, Any]]:
    end = visit.now - visit.now % 60 + 60
    asked = [
        ("starts_at", end - _DAY),
        ("ends_at", end),
        ("meters[0][meter]", meter),
        ("group_by", "customer"),
        ("top", _TOP),
    ]
    rows = (await visit.get("/meterhouse/v1/usage", asked))["data"]
    rows = [row for row in rows if not row["other"]]
    names = await visit.names(row["customer"] for row in rows)
    rows.sort(key=lambda row: -row["value"])
    return [
        {"id": row["customer"], "name": names[row["customer"]], "value": row["value"]}
        for row in rows
    ]


def _is_failing(delivery: dict[str, Any]) -> bool:
    attempts = delivery["attempts"]
    return bool(attempts) and delivery["status"] != "delivered"
