from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.bill import Part, Usage
from meterhouse.billing.change import (
    anchored,
    canceled,
    item_changed,
    renewed,
    started,
    trial_ended,
)
from meterhouse.billing.invoice import Line
from meterhouse.billing.owed import owed
from meterhouse.billing.period import Period, beginning
from meterhouse.billing.subscription import Subscription
from tests.billing.samples import MONTHLY, catalog, item, price, subscription, tiered, unit

SOLD = catalog(
    price("tokens", unit("4")),
    price("calls", unit("1")),
    price("seats", unit("1000"), metered=False),
    price("desks", tiered("volume", [(5, "200", 50), (None, "100", None)]), metered=False),
)
ANCHOR = 0
STARTS = [beginning(ANCHOR, MONTHLY, number) for number in range(12)]
MONTH = Period(STARTS[3], STARTS[4])
NEXT = Period(STARTS[4], STARTS[5])
EVERY = {id_: SOLD.recurrence(id_) for id_ in SOLD.prices}


def short(parts: Sequence[Part]) -> list[tuple[str, Period, object]]:
    """What is owed in short: an item, what it is for, and the amount or that usage is counted."""
    rows: list[tuple[str, Period, object]] = []
    for part in parts:
        if isinstance(part, Line):
            rows.append((part.subscription_item or "", part.period, part.amount))
        else:
            segment = part.segment
            assert segment.period == segment.usage_in
            counts = "free" if segment.free else "used"
            rows.append((segment.subscription_item or "", segment.usage_in, counts))
    return rows


def renewal(before: Subscription) -> list[tuple[str, Period, object]]:
    """What is owed as periods end."""
    return short(owed(before, renewed(before, EVERY, MONTH.end), SOLD))


def begun(one: Subscription, now: int = MONTH.start) -> list[Part]:
    """What is owed for a subscription that is made now."""
    return owed(None, started(one, EVERY, now), SOLD)


def test_a_renewal_bills_what_was_used_and_what_is_licensed_next() -> None:
    before = subscription(item("tokens", MONTH), item("seats", MONTH, quantity=3), anchor=ANCHOR)
    assert renewal(before) == [("si_seats", NEXT, 3000), ("si_tokens", MONTH, "used")]


def test_only_items_whose_period_ended_are_billed() -> None:
    quarter = Period(STARTS[3], STARTS[6])
    before = subscription(item("tokens", MONTH), item("calls", quarter), anchor=ANCHOR)
    assert renewal(before) == [("si_tokens", MONTH, "used")]


def test_usage_before_since_is_elsewhere() -> None:
    since = MONTH.start + 1000
    before = subscription(item("tokens", MONTH, since), anchor=ANCHOR)
    assert renewal(before) == [("si_tokens", Period(since, MONTH.end), "used")]


def test_what_is_licensed_is_not_billed_beyond_the_end() -> None:
    before = subscription(
        item("seats", MONTH, quantity=1), item("tokens", MONTH), cancel_at=MONTH.end, anchor=ANCHOR
    )
    assert renewal(before) == [("si_tokens", MONTH, "used")]


def test_a_trial_is_counted_and_free() -> None:
    """Worked example 32: at its end what is licensed is owed for the first time."""
    before = subscription(
        item("tokens", MONTH),
        item("seats", MONTH, quantity=2),
        status="trialing",
        trial=MONTH,
        anchor=MONTH.end,
    )
    change = trial_ended(before, EVERY, MONTH.end)
    assert short(owed(before, change, SOLD)) == [
        ("si_seats", change.subscription.items[1].period, 2000),
        ("si_tokens", MONTH, "free"),
    ]


def test_an_end_bills_what_was_used_until_then() -> None:
    now = MONTH.start + 5000
    one = subscription(item("tokens", MONTH), item("seats", MONTH, quantity=2))
    assert short(owed(one, canceled(one, now, billed=True), SOLD)) == [
        ("si_tokens", Period(MONTH.start, now), "used")
    ]
    assert owed(one, canceled(one, now, billed=False), SOLD) == []


def test_an_anchor_that_is_set_begins_new_periods() -> None:
    now = MONTH.start + 5000
    one = subscription(item("tokens", MONTH), item("seats", MONTH, quantity=2), anchor=ANCHOR)
    change = anchored(one, EVERY, now)
    assert short(owed(one, change, SOLD)) == [
        ("si_seats", change.subscription.items[1].period, 2000),
        ("si_tokens", Period(MONTH.start, now), "used"),
    ]


def test_a_start_bills_what_is_licensed() -> None:
    """Tiers are charged as for usage; with metered items alone there is nothing to bill."""
    one = subscription(item("tokens", MONTH), item("desks", MONTH, quantity=2), anchor=ANCHOR)
    assert short(begun(one)) == [("si_desks", MONTH, 400), ("si_desks", MONTH, 50)]
    assert begun(subscription(item("tokens", MONTH), anchor=ANCHOR)) == []


def test_a_part_of_a_period_is_not_charged_in_whole() -> None:
    now = MONTH.start + 1000
    one = subscription(item("seats", MONTH, quantity=1), anchor=ANCHOR, start=now)
    assert begun(one, now) == []


def test_a_classic_start_has_a_line_of_nothing() -> None:
    one = subscription(item("tokens", MONTH), mode="classic", anchor=ANCHOR)
    (line,) = begun(one)
    assert isinstance(line, Line)
    assert line.amount == line.quantity == 0
    assert line.description == "0 × Tokens (at $0.04 / month)"


@pytest.mark.parametrize(
    ("mode", "texts"),
    [
        ("flexible", ["Free trial for 2 × Seats"]),
        ("classic", ["Trial period for Seats", "0 × Tokens (Free trial)"]),
    ],
)
def test_a_trial_begins_with_a_line_of_what_is_licensed(mode: str, texts: list[str]) -> None:
    one = subscription(
        item("tokens", MONTH),
        item("seats", MONTH, quantity=2),
        mode=mode,
        status="trialing",
        trial=MONTH,
    )
    lines = [part for part in begun(one) if isinstance(part, Line)]
    assert [line.description for line in lines] == texts
    assert [line.amount for line in lines] == [0] * len(texts)


def test_a_start_in_the_past_bills_each_period_since() -> None:
    """Worked example 36: up to now, and the present period of what is licensed."""
    began, now = STARTS[1], MONTH.start + 5000
    one = subscription(
        item("tokens", MONTH), item("seats", MONTH, quantity=1), anchor=began, start=began
    )
    past = [Period(STARTS[1], STARTS[2]), Period(STARTS[2], STARTS[3])]
    assert short(begun(one, now)) == [
        *(("si_seats", period, 1000) for period in (*past, MONTH)),
        *(("si_tokens", period, "used") for period in (*past, Period(MONTH.start, now))),
    ]


def test_a_classic_start_in_the_past_is_billed_at_the_first_renewal() -> None:
    """Worked example 37."""
    began = STARTS[1]
    one = subscription(item("tokens", MONTH), anchor=began, start=began, mode="classic")
    assert short(begun(one)) == [("si_tokens", MONTH, 0)]
    made = started(one, EVERY, MONTH.start).subscription
    assert renewal(made) == [("si_tokens", Period(began, MONTH.end), "used")]


Event = tuple[int, int]  # its timestamp and its value
EVENTS = st.lists(
    st.tuples(st.integers(STARTS[1], STARTS[6] - 1), st.integers(-5, 100)), max_size=30
)
CHANGES = st.lists(st.integers(STARTS[3], STARTS[6] - 1), unique=True, max_size=6).map(sorted)


@given(EVENTS, CHANGES, st.randoms(use_true_random=False))
def test_pieces_bill_every_event_once(
    events: list[Event], changes: list[int], random: object
) -> None:
    """A life from a start in the past to the end, with changes of price at any instant.

    Whatever the order in which events come, each is in one segment; so a price of one a unit
    charges what was used in all of them.
    """
    segments = _life(changes)
    shuffled = random.sample(events, len(events))  # type: ignore[attr-defined]
    for at, _ in events:
        assert len([one for one in segments if one.start <= at < one.end]) == 1
    assert [_usage(one, events) for one in segments] == [_usage(one, shuffled) for one in segments]
    assert sum(_usage(one, events) for one in segments) == sum(value for _, value in events)


def _usage(used_in: Period, events: Sequence[Event]) -> int:
    return sum(value for at, value in events if used_in.start <= at < used_in.end)


def _life(changes: Sequence[int]) -> list[Period]:
    """Return the ranges that are billed of a subscription that began at `STARTS[1]`, made later."""
    one = subscription(item("calls", MONTH), anchor=ANCHOR, start=STARTS[1])
    change = started(one, EVERY, STARTS[3])
    parts = owed(None, change, SOLD)
    for number, start in enumerate(STARTS[3:6], 3):
        end = STARTS[number + 1]
        for at in (at for at in changes if start <= at < end):
            before = change.subscription
            other = "calls" if before.items[0].price == "tokens" else "tokens"
            new = msgspec.structs.replace(before.items[0], price=other)
            change = item_changed(before, new, EVERY, at, billed=True)
            parts += owed(before, change, SOLD)
        before = change.subscription
        change = renewed(before, EVERY, end)
        parts += owed(before, change, SOLD)
    before = change.subscription
    parts += owed(before, canceled(before, STARTS[6], billed=True), SOLD)
    return [part.segment.usage_in for part in parts if isinstance(part, Usage)]
