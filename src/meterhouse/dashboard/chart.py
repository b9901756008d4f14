"""From the rows of an answer to bars: every window, every group, exact.

- Values are `Decimal` all the way and reach the browser as text; only what is drawn becomes a
  float there.
- A group that has nothing in a window has zero, so the series are of one length. Groups come in
  the order of their totals, the largest first; *other* is the last.
- The values of a meter that takes the last value do not add up over time: such a chart has no
  totals and no cumulative view.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from itertools import accumulate
from typing import Any, NamedTuple

from meterhouse import zones
from meterhouse.dashboard.question import Question
from meterhouse.metering.aggregation import EXACT
from meterhouse.metering.value import ZERO
from meterhouse.metering.window import GroupingWindow, Window

OTHER = "other"


class Series(NamedTuple):
    """One group: the value that names it (None for *other*), what it is called, its bars."""

    value: str | None
    name: str
    bars: list[Decimal]
    total: Decimal


class Chart(NamedTuple):
    """What is drawn and what the table shows.

    `unfinished` is the number of the window that is not over yet, None where all are. `previous`
    and `before` are the bars and the total of the period before, None where it has no usage.
    """

    windows: list[Window]
    labels: list[str]
    series: list[Series]
    totals: list[Decimal]
    total: Decimal
    previous: list[Decimal] | None
    before: Decimal | None
    unfinished: int | None
    adds_up: bool


def build(
    question: Question,
    windows: Sequence[Window],
    drawn: GroupingWindow,
    rows: Iterable[Mapping[str, Any]],
    *,
    now: int,
    adds_up: bool,
    previous: tuple[Sequence[Window], Sequence[Mapping[str, Any]]] | None = None,
) -> Chart:
    """Sort rows into the bars of `windows`; `now` is the present in milliseconds."""
    with localcontext(EXACT):
        series = _series(question, windows, rows, adds_up=adds_up)
        earlier = _earlier(*previous, len(windows), adds_up=adds_up) if previous else []
        running = question.cumulative and adds_up
        return Chart(
            list(windows),
            [label(one, drawn, question.zone) for one in windows],
            series,
            _sums([one.bars for one in series], len(windows)),
            sum((one.total for one in series), ZERO),
            (list(accumulate(earlier)) if running else earlier) or None,
            sum(earlier, ZERO) if earlier else None,
            next((at for at, one in enumerate(windows) if one.start <= now < one.end), None),
            adds_up,
        )


def called(chart: Chart, names: Mapping[str, str]) -> Chart:
    """Return the chart with other names for its groups."""
    series = [one._replace(name=names.get(one.value or "", one.name)) for one in chart.series]
    return chart._replace(series=series)


def drawing(chart: Chart, links: Sequence[str | None]) -> dict[str, Any]:
    """Return what the script draws; `links` leads from each group to the chart of it alone."""
    return {
        "labels": chart.labels,
        "starts": [one.start for one in chart.windows],
        "unfinished": chart.unfinished,
        "previous": None if chart.previous is None else [f"{one:f}" for one in chart.previous],
        "series": [
            {
                "name": one.name,
                "other": one.value is None,
                "bars": [f"{bar:f}" for bar in one.bars],
                "link": link,
            }
            for one, link in zip(chart.series, links, strict=True)
        ],
    }


def label(window: Window, size: GroupingWindow, zone: str) -> str:
    """Say which window a bar is, by the clock of a zone."""
    start = datetime.fromtimestamp(window.start / 1000, zones.zone(zone))
    if size == "hour":
        return start.strftime("%d %b %Y, %H:%M") + (" again" if start.fold else "")
    if size == "month":
        return start.strftime("%b %Y")
    return ("Week of " if size == "week" else "") + start.strftime("%d %b %Y")


def _series(
    question: Question,
    windows: Sequence[Window],
    rows: Iterable[Mapping[str, Any]],
    *,
    adds_up: bool,
) -> list[Series]:
    """Return the groups, the largest first and *other* last."""
    groups: dict[str | None, list[Decimal]] = {}
    for row in rows:
        bars = groups.setdefault(_value(question, row), [ZERO] * len(windows))
        bars[_number(windows, row)] += Decimal(row["value"])
    if not question.group:
        groups = {"": groups.get("", [ZERO] * len(windows))}
    running = question.cumulative and adds_up
    series = [
        Series(
            value,
            _name(value) if question.group else "",
            list(accumulate(bars)) if running else bars,
            sum(bars, ZERO),
        )
        for value, bars in groups.items()
    ]
    return sorted(series, key=lambda one: (one.value is None, -one.total, one.name))


def _value(question: Question, row: Mapping[str, Any]) -> str | None:
    """Return the group of a row: empty where nothing is told apart, None for *other*."""
    if row.get("other"):
        return None
    kind, _, key = question.group.partition(":")
    if kind == "customer":
        customer: str = row["customer"]
        return customer
    found: str = row[f"{kind}s"][key] if kind else ""
    return found


def _name(value: str | None) -> str:
    return OTHER if value is None else value or "(empty)"


def _number(windows: Sequence[Window], row: Mapping[str, Any]) -> int:
    """Return the number of the bar of a row, which may begin before the range."""
    return max(0, bisect_right(windows, row["starts_at"] * 1000, key=lambda one: one.start) - 1)


def _earlier(
    windows: Sequence[Window], rows: Sequence[Mapping[str, Any]], length: int, *, adds_up: bool
) -> list[Decimal]:
    """Return the bars of the period before, as many as there are now; none without usage.

    It may have had a bar more. What adds up is then in the last one, so that nothing is lost.
    """
    bars = [ZERO] * length
    for row in rows:
        number = _number(windows, row)
        if number < length or adds_up:
            bars[min(number, length - 1)] += Decimal(row["value"])
    return bars if rows else []


def _sums(columns: Iterable[Sequence[Decimal]], length: int) -> list[Decimal]:
    totals = [ZERO] * length
    for bars in columns:
        totals = [total + bar for total, bar in zip(totals, bars, strict=True)]
    return totals
