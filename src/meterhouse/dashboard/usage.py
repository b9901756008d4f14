"""The usage chart: its page, and the same chart on the pages of a meter and of a customer."""

import asyncio
from typing import Any

from starlette.responses import Response

from meterhouse import zones
from meterhouse.dashboard import chart
from meterhouse.dashboard.client import ApiError
from meterhouse.dashboard.question import (
    RANGES,
    USAGE_PATH,
    WINDOWS,
    Filter,
    Question,
    api_pairs,
    before,
    curl,
    dates,
    drawn_by,
    read_question,
    span,
    windows,
)
from meterhouse.dashboard.streaming import Download
from meterhouse.dashboard.visit import Visit
from meterhouse.metering.window import Window


async def show(visit: Visit) -> Response:
    """Show how much was used, as the query of the URL says."""
    meters = await visit.meters()
    found = await section(visit, meters, "usage")
    template = "_usage.html" if visit.request.headers.get("x-fragment") else "usage.html"
    return visit.page(template, here="usage", **found)


async def section(
    visit: Visit, meters: list[dict[str, Any]], base: str, **fixed: str
) -> dict[str, Any]:
    """Return what the template of the chart needs; `fixed` is what the page says, not its query."""
    if not meters:
        return {"chart": None, "base": base, "wrong": None, "meters": meters}
    asked = read_question(visit.request.query_params.multi_items()).change(**fixed)
    ids = {one["id"]: one for one in meters}
    meter = ids.get(asked.meter) or next(filter(_adds_up, meters), meters[0])
    question = asked.change(meter=meter["id"])
    shown = dates(question, span(question, visit.clock.now()))
    try:
        drawn = await _draw(visit, question, meter)
    except ApiError as error:
        drawn = {"chart": None, "wrong": str(error)}
    return {
        "base": base,
        "fixed": fixed,
        "question": question,
        "meter": meter,
        "meters": meters,
        "ranges": RANGES,
        "sizes": WINDOWS,
        "zones": sorted(zones.names()),
        "dates": shown,
        "dimensions": meter.get("dimension_payload_keys") or [],
        "removals": [(one, _link(visit, base, question.without(one))) for one in question.filters],
        "presets": [
            (name, _link(visit, base, _ranged(question, key)), question.range == key)
            for key, name in RANGES
            if key != "custom"
        ],
        "downloads": {
            kind: visit.at(f"usage.{kind}", question.pairs()) for kind in ("csv", "parquet")
        },
        **drawn,
    }


async def download_csv(visit: Visit) -> Response:
    """Send the numbers of the chart as CSV, with the mark that Excel wants."""
    return _download(visit, "text/csv", "usage.csv", ("byte_order_mark", "true"))


async def download_parquet(visit: Visit) -> Response:
    """Send the numbers of the chart as Parquet."""
    return _download(visit, "application/vnd.apache.parquet", "usage.parquet")


def _download(visit: Visit, accept: str, name: str, *more: tuple[str, str]) -> Response:
    question = read_question(visit.request.query_params.multi_items())
    pairs = [*api_pairs(question, span(question, visit.clock.now())), *more]
    return Download(
        visit.api, visit.asker, visit.space, USAGE_PATH, pairs, accept, name, visit.bounded
    )


def _ranged(question: Question, key: str) -> Question:
    """Return the question about another range, by the window that is usual for it."""
    kept = [pair for pair in question.pairs() if pair[0] not in {"range", "from", "to", "window"}]
    return read_question([*kept, ("range", key)])


async def _draw(visit: Visit, question: Question, meter: dict[str, Any]) -> dict[str, Any]:
    now = visit.clock.now()
    whole = span(question, now)
    answer, former = await asyncio.gather(
        visit.get(USAGE_PATH, api_pairs(question, whole)), _former(visit, question, whole)
    )
    built = chart.build(
        question,
        windows(question, whole),
        drawn_by(question, whole),
        answer["data"],
        now=now,
        adds_up=_adds_up(meter),
        previous=former,
    )
    if question.group == "customer":
        built = chart.called(
            built, await visit.names(one.value or "" for one in built.series if one.value)
        )
    links = [_narrowed(visit, question, one) for one in built.series]
    return {
        "chart": built,
        "wrong": None,
        "drawing": chart.drawing(built, links),
        "links": links,
        "size": drawn_by(question, whole),
        "refreshed_at": answer["refreshed_at"],
        "span": whole,
        "curl": curl(visit.url, question, whole),
    }


async def _former(
    visit: Visit, question: Question, whole: Window
) -> tuple[list[Window], list[dict[str, Any]]] | None:
    if not question.compare:
        return None
    earlier = before(question, whole)
    same_size = question.change(window=drawn_by(question, whole))
    answer = await visit.get(USAGE_PATH, api_pairs(same_size, earlier, grouped=False))
    return windows(same_size, earlier), answer["data"]


def _narrowed(visit: Visit, question: Question, series: chart.Series) -> str | None:
    """Return where a click on a group leads: to the chart of it alone."""
    if series.value is None or not question.group:
        return None
    kind, _, key = question.group.partition(":")
    if kind == "customer":
        return _link(visit, "usage", question.change(customer=series.value, group=""))
    base = visit.request.url.path.rpartition(f"/{visit.space.mode}/")[2]
    return _link(visit, base, question.filtered(Filter(kind, key, series.value)))


def _link(visit: Visit, base: str, question: Question) -> str:
    return visit.at(base, question.pairs())


def _adds_up(meter: dict[str, Any]) -> bool:
    """Tell whether the usage of several windows makes one number."""
    return bool(meter["default_aggregation"]["formula"] != "last")
