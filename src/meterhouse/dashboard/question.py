"""What a usage chart shows: a URL's query, read and written.

`read_question(q.pairs()) == q` for every question, so each state of a chart has an address. The
range is in days of a time zone, or the last 24 hours; it includes its last day, which may not be
over. `api_pairs` is the same question as the API takes it.
"""

import shlex
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple, cast, get_args
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import msgspec

from meterhouse import limits, zones
from meterhouse.metering.window import GroupingWindow, Window, zoned

USAGE_PATH = "/meterhouse/v1/usage"

Range = Literal["24h", "7d", "30d", "90d", "12m", "month", "last_month", "custom"]
RANGES: tuple[tuple[Range, str], ...] = (
    ("24h", "Last 24 hours"),
    ("7d", "Last 7 days"),
    ("30d", "Last 30 days"),
    ("90d", "Last 90 days"),
    ("12m", "Last 12 months"),
    ("month", "This month"),
    ("last_month", "Last month"),
    ("custom", "Other dates"),
)
WINDOWS: tuple[GroupingWindow, ...] = ("hour", "day", "week", "month")

_DAYS = {"7d": 7, "30d": 30, "90d": 90}
_WINDOW_OF: dict[str, GroupingWindow] = {"24h": "hour", "90d": "week", "12m": "month"}
_HOUR = 3_600_000
_DAY = timedelta(days=1)
_MONTHS = 11  # before this one
_HOURS = {"hour": 1, "day": 23, "week": 7 * 24 - 1, "month": 28 * 24 - 1}


class Filter(NamedTuple):
    """Only usage whose `key` has this value; `kind` is `dimension` or `tenant`."""

    kind: str
    key: str
    value: str


class Question(msgspec.Struct, frozen=True):
    """The state of a chart. `group` is empty, `customer`, `dimension:<key>` or `tenant:<key>`."""

    meter: str
    customer: str = ""
    group: str = ""
    filters: tuple[Filter, ...] = ()
    window: GroupingWindow = "day"
    zone: str = "UTC"
    range: Range = "30d"
    start: date | None = None
    end: date | None = None
    top: int = limits.CHART_GROUPS_DEFAULT
    compare: bool = False
    cumulative: bool = False

    def pairs(self) -> list[tuple[str, str]]:
        """Return the query of this state; what is as it is anyway is left out."""
        custom = self.range == "custom"
        usual = _WINDOW_OF.get(self.range, "day")
        told = {
            "meter": self.meter,
            "customer": self.customer,
            "group": self.group,
            "range": "" if self.range == "30d" else self.range,
            "from": self.start.isoformat() if custom and self.start else "",
            "to": self.end.isoformat() if custom and self.end else "",
            "window": "" if self.window == usual else self.window,
            "zone": "" if self.zone == "UTC" else self.zone,
            "top": "" if self.top == limits.CHART_GROUPS_DEFAULT else str(self.top),
            "compare": "1" if self.compare else "",
            "cumulative": "1" if self.cumulative else "",
        }
        pairs = [(name, text) for name, text in told.items() if text]
        return pairs + [(f"{one.kind}.{one.key}", one.value) for one in self.filters]

    def change(self, **changes: object) -> "Question":
        """Return another state."""
        return msgspec.structs.replace(self, **changes)

    def filtered(self, added: Filter) -> "Question":
        """Return the state with one filter more; a key that is told apart no longer is."""
        kept = tuple(one for one in self.filters if one[:2] != added[:2])
        group = "" if self.group == f"{added.kind}:{added.key}" else self.group
        return self.change(filters=(*kept, added), group=group)

    def without(self, removed: Filter) -> "Question":
        """Return the state with one filter less."""
        return self.change(filters=tuple(one for one in self.filters if one != removed))


def read_question(pairs: Iterable[tuple[str, str]]) -> Question:
    """Read a query; what is not in order is left out."""
    pairs = list(pairs)
    said = {name: text.strip() for name, text in pairs}
    start, end = _day(said.get("from", "")), _day(said.get("to", ""))
    range_ = _range(said.get("range", ""), start, end)
    zone = said.get("zone", "UTC")
    return Question(
        meter=said.get("meter", ""),
        customer=said.get("customer", ""),
        group=_group(said.get("group", "")),
        filters=_filters(pairs),
        window=_window(said.get("window", ""), range_),
        zone=zone if zone in zones.names() else "UTC",
        range=range_,
        start=start if range_ == "custom" else None,
        end=end if range_ == "custom" else None,
        top=_top(said.get("top", "")),
        compare=said.get("compare") == "1",
        cumulative=said.get("cumulative") == "1",
    )


def span(question: Question, now: int) -> Window:
    """Return the range in milliseconds; `now` is the present."""
    zone = zones.zone(question.zone)
    if question.range == "24h":
        end = now - now % _HOUR + _HOUR
        return Window(end - 24 * _HOUR, end)
    first, last = _days(question, datetime.fromtimestamp(now / 1000, zone).date())
    return Window(_midnight(first, zone), _midnight(last + _DAY, zone))


def dates(question: Question, window: Window) -> tuple[date, date]:
    """Return the first and the last day of a range, as the clock of its zone has them."""
    first, last = (
        datetime.fromtimestamp(at / 1000, zones.zone(question.zone)).date()
        for at in (window.start, window.end - 1)
    )
    return first, last


def before(question: Question, window: Window) -> Window:
    """Return the range of the same length before one."""
    zone = zones.zone(question.zone)
    if question.range == "24h":
        return Window(2 * window.start - window.end, window.start)
    first = datetime.fromtimestamp(window.start / 1000, zone).date()
    last = datetime.fromtimestamp(window.end / 1000, zone).date()
    if first.day == last.day == 1:  # whole months: as many months
        months = (last.year - first.year) * 12 + last.month - first.month
        return Window(_midnight(_months_before(first, months), zone), window.start)
    return Window(_midnight(first - (last - first), zone), window.start)


def drawn_by(question: Question, window: Window) -> GroupingWindow:
    """Return the window that is drawn: the one asked for, or a larger one where bars were too many.

    A bar of a week or a month may begin before the range; it shows what lies within.
    """
    hours = (window.end - window.start) // _HOUR
    sizes = WINDOWS[WINDOWS.index(question.window) :]
    fitting = (size for size in sizes if hours / _HOURS[size] <= limits.CHART_WINDOWS_MAX)
    return next(fitting, sizes[-1])


def windows(question: Question, window: Window) -> list[Window]:
    """Return the bars of a range, cut at its ends."""
    whole = zoned(*window, drawn_by(question, window), zones.zone(question.zone))
    return [Window(max(one.start, window.start), min(one.end, window.end)) for one in whole]


def api_pairs(question: Question, window: Window, *, grouped: bool = True) -> list[tuple[str, str]]:
    """Return the parameters of the API call that has the numbers."""
    pairs = [
        ("starts_at", str(window.start // 1000)),
        ("ends_at", str(window.end // 1000)),
        ("value_grouping_window", drawn_by(question, window)),
        ("timezone", question.zone),
        ("meters[0][meter]", question.meter),
    ]
    if question.customer:
        pairs.append(("customer", question.customer))
    pairs += [
        (f"meters[0][{one.kind}_filters][{one.key}][]", one.value) for one in question.filters
    ]
    kind, _, key = question.group.partition(":")
    if not grouped or not kind:
        return pairs
    by = ("group_by", "customer") if kind == "customer" else _group_keys(kind, key)
    return [*pairs, by, ("top", str(question.top))]


def curl(url: str, question: Question, window: Window) -> str:
    """Return the command that asks the API for the same numbers."""
    lines = [f'curl -G {shlex.quote(url + USAGE_PATH)} -u "$KEY:"']
    lines += [
        f"  -d {shlex.quote(f'{name}={text}')}"
        if urlencode({"": text}) == f"={text}"
        else f"  --data-urlencode {shlex.quote(f'{name}={text}')}"
        for name, text in ((quote(name, "[]"), text) for name, text in api_pairs(question, window))
    ]
    return " \\\n".join(lines)


def _group_keys(kind: str, key: str) -> tuple[str, str]:
    return f"meters[0][{kind}_group_by_keys][]", key


def _days(question: Question, today: date) -> tuple[date, date]:
    """Return the first and the last day of a range."""
    month = today.replace(day=1)
    if question.range in _DAYS:
        return today - (_DAYS[question.range] - 1) * _DAY, today
    if question.range == "12m":
        return _months_before(month, _MONTHS), today
    if question.range == "month":
        return month, today
    if question.range == "last_month":
        return _months_before(month, 1), month - _DAY
    last = question.end or today
    return min(question.start or last, last), last


def _months_before(month: date, months: int) -> date:
    years, number = divmod(month.year * 12 + month.month - 1 - months, 12)
    return date(years, number + 1, 1)


def _midnight(day: date, zone: ZoneInfo) -> int:
    """Return the first millisecond of a day, as windows of days have it."""
    noon = datetime.combine(day, time(12), zone).astimezone(UTC)
    at = int(noon.timestamp()) * 1000
    return zoned(at, at + 1, "day", zone)[0].start


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if date(1971, 1, 1) <= day <= date(2298, 12, 31) else None


def _range(text: str, start: date | None, end: date | None) -> Range:
    if text in {"", "custom"}:
        return "custom" if start or end else "30d"
    return cast("Range", text) if text in get_args(Range) else "30d"


def _window(text: str, range_: Range) -> GroupingWindow:
    return text if text in WINDOWS else _WINDOW_OF.get(range_, "day")


def _group(text: str) -> str:
    kind, _, key = text.partition(":")
    return text if text == "customer" or (kind in {"dimension", "tenant"} and key) else ""


def _top(text: str) -> int:
    try:
        return min(max(int(text), 1), limits.CHART_GROUPS_MAX)
    except ValueError:  # no number, or one of thousands of digits
        return limits.CHART_GROUPS_DEFAULT


def _filters(pairs: list[tuple[str, str]]) -> tuple[Filter, ...]:
    found = []
    for name, value in pairs:
        kind, _, key = name.partition(".")
        if kind in {"dimension", "tenant"} and key:
            found.append(Filter(kind, key, value))
    said = {name: text.strip() for name, text in pairs}
    chosen = said.get("filter_key") or f"tenant:{said.get('filter_tenant', '')}"
    kind, _, key = chosen.partition(":")
    if kind in {"dimension", "tenant"} and key and "filter_value" in said:
        found.append(Filter(kind, key, said["filter_value"]))
    return tuple(dict.fromkeys(found))
