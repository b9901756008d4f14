"""Usage of all customers from the store against a naive model that asks for one after the other."""

from collections import defaultdict
from decimal import Context, Decimal
from functools import reduce
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse.metering.meter_usage import MeterUsageQuery, windows_of
from meterhouse.metering.overview import Overview
from meterhouse.usage import overview as statements
from meterhouse.usage.store import UsageStore
from tests.metering.oracle import Oracle
from tests.metering.samples import DAY, MINUTE
from tests.usage.samples import forget_slots, new_scope
from tests.usage.test_meter_usage import WINDOWS, histories, oracle_of, put, questions

EXACT = Context(prec=100)
Row = tuple[int, bool, tuple[str, ...], Decimal]


def ask(store: UsageStore, overview: Overview) -> list[Row]:
    windows = windows_of(overview.query)
    return [
        (
            max(windows[row["window"]].start, overview.query.start),
            row["other"],
            tuple(text for name, text in row.items() if name.startswith("group_")),
            Decimal(row["usage"]),
        )
        for row in store.columns(*statements.answer(overview)).to_pylist()
    ]


def added(known: Oracle, overview: Overview, window: str | None) -> dict[int, dict[Any, Decimal]]:
    """Return what every group comes to, by the start of its windows."""
    [one] = overview.query.questions
    usage: dict[int, dict[Any, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    asked: dict[str, Any] = {
        "keys": one.groups,
        "filters": tuple((part.key, part.values) for part in one.filters),
        "grain": 15 * MINUTE,
        "start": overview.query.start,
        "end": overview.query.end,
        "zone": overview.query.zone,
    }
    for customer in ("cus_1", "cus_2"):
        if not known.usage(one.meter.id, customer, window="hour", **asked):
            continue  # nothing at all, which is 0 where nothing is cut
        for start, _, keys, value in known.usage(one.meter.id, customer, window=window, **asked):
            group = (customer, *keys) if overview.by_customer else keys
            usage[start][group] = EXACT.add(usage[start][group], value)
    return usage


def expected(known: Oracle, overview: Overview) -> list[Row]:
    whole = added(known, overview, None).get(overview.query.start, {})
    first = sorted(whole, key=lambda group: (-whole[group], group))[: overview.top]
    rows: list[Row] = []
    for start, groups in sorted(added(known, overview, overview.query.window).items()):
        others = [value for group, value in groups.items() if group not in first]
        rows += [(start, False, group, groups[group]) for group in sorted(groups) if group in first]
        if others:
            width = max(1, overview.by_customer + len(overview.query.questions[0].groups))
            rows.append((start, True, ("",) * width, reduce(EXACT.add, others)))
    return rows


@settings(max_examples=40)
@given(st.data())
def test_an_overview_equals_the_naive_model(store: UsageStore, data: st.DataObject) -> None:
    forget_slots(store)
    scope = new_scope()
    day, rows, cancelled = data.draw(histories(scope))
    put(store, scope, rows, [rows[number] for number in cancelled])
    known = oracle_of(rows, cancelled)
    for _ in range(4):
        one = data.draw(questions())
        start = day + data.draw(st.integers(-2 * DAY // MINUTE, DAY // MINUTE)) * MINUTE
        overview = Overview(
            query=MeterUsageQuery(
                scope=scope,
                customer=None,
                start=start,
                end=start + data.draw(st.integers(15, 3 * DAY // MINUTE)) * MINUTE,
                questions=(one,),
                window=data.draw(st.sampled_from(WINDOWS)),
                zone=data.draw(st.sampled_from(["UTC", "Asia/Kathmandu", "America/New_York"])),
            ),
            by_customer=not one.groups or data.draw(st.booleans()),
            top=data.draw(st.none() | st.integers(1, 3)),
        )
        assert ask(store, overview) == expected(known, overview)
