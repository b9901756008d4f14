"""Events: search, the live tail, and the whole life of one."""

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from meterhouse.dashboard.client import ApiError
from meterhouse.dashboard.streaming import event_stream
from meterhouse.dashboard.visit import Visit, question

_PATH = "/meterhouse/v1/meter_events"
_LIFE = "/meterhouse/v1/meter_event"
_FILTERS = ("identifier", "customer", "meter", "event_name", "outcome", "code")
_TIMES = (("since", "received[gte]"), ("until", "received[lt]"))
_ROWS = 50


async def list_(visit: Visit) -> Response:
    """List the events that are searched for, newest first."""
    asked, wrong = _search(visit), ""
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    try:
        page = await visit.get(_PATH, [("limit", _ROWS), *asked, *after])
    except ApiError as error:
        page, wrong = {"data": [], "has_more": False}, str(error)
    meters = await visit.meters()
    kept = question(visit.request.query_params, (*_FILTERS, "since", "until"))
    return visit.page(
        "events.html",
        here="events",
        events=page["data"],
        more=page["has_more"],
        meters=meters,
        names={one["id"]: one["display_name"] for one in meters},
        kept=kept,
        asked=dict(kept),
        tail=not after and not visit.asked("until"),
        wrong=wrong,
    )


async def live(visit: Visit) -> Response:
    """Send the newest events again whenever there are others."""
    if visit.live.full():
        raise ApiError(503, "Too many people look at once.")
    asked = _search(visit)
    key = ("events", visit.space, tuple(asked))

    async def part() -> str:
        events = await visit.items(_PATH, [("limit", _ROWS), *asked])
        names = {one["id"]: one["display_name"] for one in await visit.meters()}
        return visit.render("_events.html", events=events, names=names)

    return event_stream(visit.request, visit.live.stream(key, part, visit.over()))


async def show(visit: Visit) -> Response:
    """Tell the life of an event: why it counts, or why it does not."""
    event = await visit.get(_LIFE, [("identifier", visit.named("identifier"))])
    meters = {one["id"]: one for one in await visit.meters()}
    return visit.page(
        "event.html",
        here="events",
        event=event,
        meter=meters.get(event["meter"] or ""),
        story=story(event),
    )


def story(event: dict[str, Any]) -> tuple[str, str]:
    """Say in one sentence what became of an event, and whether that is good, bad or neither."""
    if event["cancelled"]:
        return "It counted until it was cancelled.", "neutral"
    window = event["summary_window"]
    if event["outcome"] == "accepted" and window and window["overwritten_by"]:
        return "A later event of the same window counts in its place.", "neutral"
    return {
        "accepted": ("It counts.", "good"),
        "pending": ("It waits to be judged; look again in a moment.", "neutral"),
        "duplicate": (
            "It does not count: an event with this identifier came before.",
            "neutral",
        ),
        "rejected": (f"It does not count. {event['message']}", "bad"),
    }[event["outcome"]]


def _search(visit: Visit) -> list[tuple[str, Any]]:
    """Return the parameters of the search; an instant that cannot be read is left out."""
    asked: list[tuple[str, Any]] = list(question(visit.request.query_params, _FILTERS))
    for name, parameter in _TIMES:
        at = _instant(visit.asked(name))
        if at is not None:
            asked.append((parameter, at))
    return asked


def _instant(text: str) -> int | None:
    """Read a date and a time of day, in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
