import re
import shlex
from datetime import date
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse import limits, zones
from meterhouse.dashboard.question import (
    RANGES,
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
from meterhouse.metering.window import Window
from tests.dashboard.samples import DAY, HOUR, at

NOW = at("2026-11-21T12:34:56")
MODEL, USER = Filter("dimension", "model", "small"), Filter("tenant", "user", "ada")

KEYS = st.text(min_size=1).filter(lambda key: key == key.strip())
GROUPS = st.one_of(
    st.sampled_from(["", "customer"]),
    st.builds("{}:{}".format, st.sampled_from(["dimension", "tenant"]), KEYS),
)
FILTERS = st.builds(
    Filter, st.sampled_from(["dimension", "tenant"]), st.text(min_size=1), st.text()
)
DATES = st.dates(date(1971, 1, 1), date(2298, 12, 31))
RANGED: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from([{"range": key} for key, _ in RANGES if key != "custom"]),
    st.fixed_dictionaries({"range": st.just("custom"), "start": DATES, "end": DATES}),
    st.fixed_dictionaries({"range": st.just("custom"), "start": DATES}),
    st.fixed_dictionaries({"range": st.just("custom"), "end": DATES}),
)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    filters = draw(st.lists(FILTERS, max_size=3, unique=True))
    rest: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {
            "meter": st.text().map(str.strip),
            "customer": st.text().map(str.strip),
            "group": GROUPS,
            "window": st.sampled_from(WINDOWS),
            "zone": st.sampled_from(sorted(zones.names())),
            "top": st.integers(1, limits.CHART_GROUPS_MAX),
            "compare": st.booleans(),
            "cumulative": st.booleans(),
        }
    )
    return Question(filters=tuple(filters), **draw(rest), **draw(RANGED))


NAMES = st.sampled_from(
    re.findall(
        r"\S+",
        """
        meter customer group range from to window zone top compare cumulative dimension.model
        tenant.user dimension. filter_key filter_tenant filter_value
        """,
    )
)
TEXTS = st.sampled_from(
    re.findall(
        r"\S+",
        """
        1 -3 24h custom last_month hour month Asia/Kathmandu customer customer:x tenant:user
        dimension:model dimension: 2026-11-21 2026-02-30 9999-01-01
        """,
    )
)


@given(questions())
def test_what_is_printed_is_read(question: Question) -> None:
    assert read_question(question.pairs()) == question
    address = urlencode(question.pairs())
    assert read_question(parse_qsl(address, keep_blank_values=True)) == question


@given(st.lists(st.tuples(NAMES, TEXTS | st.text())))
def test_whatever_is_read_has_an_address(pairs: list[tuple[str, str]]) -> None:
    question = read_question(pairs)
    assert read_question(question.pairs()) == question


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", {}),
        ("meter=+m+&customer=c", {"meter": "m", "customer": "c"}),
        ("range=24h", {"range": "24h", "window": "hour"}),
        ("range=90d", {"range": "90d", "window": "week"}),
        ("range=12m&window=day", {"range": "12m", "window": "day"}),
        ("range=7d&window=minute", {"range": "7d"}),
        ("range=1y", {}),
        ("range=custom", {}),
        ("from=2026-11-01", {"range": "custom", "start": date(2026, 11, 1)}),
        ("range=custom&to=2026-11-01", {"range": "custom", "end": date(2026, 11, 1)}),
        # A preset says which days; those of the form are the ones that it drew before.
        ("range=7d&from=2026-11-01&to=2026-11-02", {"range": "7d"}),
        ("from=2026-02-30&to=1970-12-31", {}),
        ("zone=Asia/Kathmandu", {"zone": "Asia/Kathmandu"}),
        ("zone=Mars/Olympus", {}),
        ("zone=localtime", {}),
        ("zone=../../etc/passwd", {}),
        ("top=3", {"top": 3}),
        ("top=0", {"top": 1}),
        ("top=-1", {"top": 1}),
        ("top=99", {"top": limits.CHART_GROUPS_MAX}),
        ("top=many", {}),
        ("top=" + "9" * 5_000, {}),
        ("compare=1&cumulative=1", {"compare": True, "cumulative": True}),
        ("compare=yes", {}),
        ("group=customer", {"group": "customer"}),
        ("group=customer:x", {}),
        ("group=dimension:a:b", {"group": "dimension:a:b"}),
        ("group=dimension:", {}),
        ("group=model", {}),
        ("dimension.model=small&tenant.user=ada", {"filters": (MODEL, USER)}),
        ("dimension.model=small&dimension.model=small", {"filters": (MODEL,)}),
        ("dimension.a.b=", {"filters": (Filter("dimension", "a.b", ""),)}),
        ("dimension.=x&other.model=x", {}),
        # What the form adds.
        ("filter_key=dimension:model&filter_value=small", {"filters": (MODEL,)}),
        ("filter_key=&filter_tenant=user&filter_value=ada", {"filters": (USER,)}),
        ("filter_tenant=user&filter_value=ada", {"filters": (USER,)}),
        ("filter_key=&filter_tenant=&filter_value=", {}),
        ("filter_key=dimension:model", {}),
    ],
)
def test_reading(query: str, said: dict[str, Any]) -> None:
    expected = Question(**{"meter": "", **said})
    assert read_question(parse_qsl(query, keep_blank_values=True)) == expected


def test_what_is_usual_is_not_printed() -> None:
    assert Question("m").pairs() == [("meter", "m")]
    assert Question("m", range="12m", window="month").pairs() == [("meter", "m"), ("range", "12m")]
    days = {"start": date(2026, 11, 1), "end": date(2026, 11, 2)}
    assert Question("m", **days).pairs() == [("meter", "m")]  # type: ignore[arg-type]


def test_a_filter_replaces_one_of_its_key_and_ends_telling_apart() -> None:
    apart = Question("m", group="dimension:model", filters=(Filter("dimension", "model", "large"),))
    assert apart.filtered(MODEL) == Question("m", filters=(MODEL,))
    assert apart.filtered(USER) == apart.change(filters=(*apart.filters, USER))
    assert apart.filtered(MODEL).without(MODEL) == Question("m")


@pytest.mark.parametrize(
    ("query", "start", "end", "first", "last"),
    [
        ("range=24h", "2026-11-20T13:00", "2026-11-21T13:00", "2026-11-20", "2026-11-21"),
        ("range=7d", "2026-11-15", "2026-11-22", "2026-11-15", "2026-11-21"),
        ("", "2026-10-23", "2026-11-22", "2026-10-23", "2026-11-21"),
        ("range=90d", "2026-08-24", "2026-11-22", "2026-08-24", "2026-11-21"),
        ("range=12m", "2025-12-01", "2026-11-22", "2025-12-01", "2026-11-21"),
        ("range=month", "2026-11-01", "2026-11-22", "2026-11-01", "2026-11-21"),
        ("range=last_month", "2026-10-01", "2026-11-01", "2026-10-01", "2026-10-31"),
        ("from=2026-11-20", "2026-11-20", "2026-11-22", "2026-11-20", "2026-11-21"),
        ("from=2026-01-05&to=2026-01-05", "2026-01-05", "2026-01-06", "2026-01-05", "2026-01-05"),
        ("to=2026-01-05", "2026-01-05", "2026-01-06", "2026-01-05", "2026-01-05"),
        ("from=2026-01-06&to=2026-01-05", "2026-01-05", "2026-01-06", "2026-01-05", "2026-01-05"),
    ],
)
def test_the_range_and_its_days(query: str, start: str, end: str, first: str, last: str) -> None:
    question = read_question(parse_qsl(query))
    whole = span(question, NOW)
    assert whole == Window(at(start), at(end))
    assert dates(question, whole) == (date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("zone", "query", "start", "end"),
    [
        ("Asia/Tokyo", "range=7d", "2026-11-15", "2026-11-22"),
        ("Pacific/Kiritimati", "range=7d", "2026-11-16", "2026-11-23"),
        ("America/New_York", "from=2026-11-01&to=2026-11-01", "2026-11-01", "2026-11-02"),
        # The clock leaves midnight out.
        ("America/Sao_Paulo", "from=2018-11-04&to=2018-11-04", "2018-11-04T01:00", "2018-11-05"),
    ],
)
def test_days_are_those_of_the_zone(zone: str, query: str, start: str, end: str) -> None:
    question = read_question(parse_qsl(f"{query}&zone={zone}"))
    assert span(question, NOW) == Window(at(start, zone), at(end, zone))


@pytest.mark.parametrize(
    ("query", "start"),
    [
        ("range=24h", "2026-11-19T13:00"),
        ("range=7d", "2026-11-08"),
        ("range=last_month", "2026-09-01"),  # of 30 days, before one of 31
        ("range=month", "2026-10-11"),
        ("from=2026-01-01&to=2026-03-31", "2025-10-01"),
        ("from=2026-01-01&to=2026-03-30", "2025-10-04"),
    ],
)
def test_the_period_before(query: str, start: str) -> None:
    question = read_question(parse_qsl(query))
    whole = span(question, NOW)
    assert before(question, whole) == Window(at(start), whole.start)


def test_the_period_before_has_as_many_days_however_long_they_are() -> None:
    question = read_question(parse_qsl("from=2026-03-09&to=2026-03-10&zone=America/New_York"))
    earlier = before(question, span(question, NOW))
    assert earlier == Window(*(at(day, question.zone) for day in ("2026-03-07", "2026-03-09")))
    assert earlier.end - earlier.start == 2 * DAY - HOUR


@pytest.mark.parametrize(
    ("query", "drawn"),
    [
        ("range=24h", "hour"),
        ("range=30d&window=hour", "hour"),
        ("range=90d&window=hour", "day"),
        ("from=2023-11-21&to=2026-11-21&window=hour", "week"),
        ("from=2024-11-21&to=2026-11-21&window=day", "day"),
        ("from=1990-11-21&to=2026-11-21&window=day", "month"),
        ("from=1971-01-01&to=2298-12-31&window=hour", "month"),
        ("range=7d&window=month", "month"),
    ],
)
def test_too_many_bars_make_larger_ones(query: str, drawn: str) -> None:
    question = read_question(parse_qsl(query))
    assert drawn_by(question, span(question, NOW)) == drawn


@given(
    RANGED,
    st.sampled_from(WINDOWS),
    st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.integers(at("1973-01-01"), at("2040-01-01")),
)
def test_bars_cover_the_range_and_the_one_before(
    ranged: dict[str, Any], size: Any, zone: str, now: int
) -> None:
    question = Question("m", window=size, zone=zone, **ranged)
    whole = span(question, now)
    earlier = before(question, whole)
    assert earlier.end == whole.start
    for one in (whole, earlier):
        bars = windows(question, one)
        assert (bars[0].start, bars[-1].end) == one
        assert all(left.end == right.start for left, right in pairwise(bars))
        assert all(bar.start < bar.end for bar in bars)
        assert len(bars) <= limits.CHART_WINDOWS_MAX or drawn_by(question, one) == "month"


def test_what_the_api_is_asked() -> None:
    question = Question(
        "m", customer="c", group="tenant:user", filters=(MODEL,), zone="Asia/Tokyo", top=3
    )
    asked = [
        ("starts_at", "1"),
        ("ends_at", "7"),
        ("value_grouping_window", "day"),
        ("timezone", "Asia/Tokyo"),
        ("meters[0][meter]", "m"),
        ("customer", "c"),
        ("meters[0][dimension_filters][model][]", "small"),
    ]
    groups = [("meters[0][tenant_group_by_keys][]", "user"), ("top", "3")]
    assert api_pairs(question, Window(1_000, 7_000)) == asked + groups
    assert api_pairs(question, Window(1_000, 7_000), grouped=False) == asked
    by_customer = api_pairs(Question("m", group="customer"), Window(1_000, 7_000))
    assert by_customer[-2:] == [
        ("group_by", "customer"),
        ("top", str(limits.CHART_GROUPS_DEFAULT)),
    ]


@given(questions())
def test_the_command_asks_the_same(question: Question) -> None:
    whole = Window(at("2026-11-20"), at("2026-11-21"))
    words = shlex.split(curl("http://localhost:1", question, whole).replace("\\\n", ""))
    assert words[:5] == ["curl", "-G", "http://localhost:1/meterhouse/v1/usage", "-u", "$KEY:"]
    said = [one.partition("=") for one in words[6::2]]
    assert [(unquote(name), text) for name, _, text in said] == api_pairs(question, whole)
