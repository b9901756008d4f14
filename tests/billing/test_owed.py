from collections.abc import Sequence
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.bill import Part, Usage, item_part
from meterhouse.billing.invoice import InvoiceItem, Line
from meterhouse.billing.owed import at_end, at_renewal, at_start
from meterhouse.billing.period import Period, beginning
from meterhouse.billing.subscription import Item, Subscription
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


def owed(parts: Sequence[Part]) -> list[tuple[str, Period, object]]:
    """What is owed in short: an item, what it is for, and the amount or that usage is counted."""
    short: list[tuple[str, Period, object]] = []
    for part in parts:
        if isinstance(part, Line):
            short.append((part.subscription_item or "", part.period, part.amount))
        else:
            segment = part.segment
            assert segment.period == segment.usage_in
            counts = "free" if segment.free else "used"
            short.append((segment.subscription_item or "", segment.usage_in, counts))
    return short


def renewed(before: Subscription, period: Period = NEXT, **changes: object) -> Subscription:
    items = tuple(
        msgspec.structs.replace(one, period=period, since=period.start) for one in before.items
    )
    return msgspec.structs.replace(before, items=items, **changes)


def test_a_renewal_bills_what_was_used_and_what_is_licensed_next() -> None:
    before = subscription(item("tokens", MONTH), item("seats", MONTH, quantity=3), anchor=ANCHOR)
    assert owed(at_renewal(before, renewed(before), SOLD)) == [
        ("si_seats", NEXT, 3000),
        ("si_tokens", MONTH, "used"),
    ]


def test_only_items_whose_period_ended_are_billed() -> None:
    before = subscription(item("tokens", MONTH), item("calls", Period(STARTS[3], STARTS[6])))
    items = (renewed(before).items[0], before.items[1])
    after = msgspec.structs.replace(before, items=items)
    assert owed(at_renewal(before, after, SOLD)) == [("si_tokens", MONTH, "used")]


def test_usage_before_since_is_elsewhere() -> None:
    since = MONTH.start + 1000
    before = subscription(item("tokens", MONTH, since))
    parts = at_renewal(before, renewed(before), SOLD)
    assert owed(parts) == [("si_tokens", Period(since, MONTH.end), "used")]


def test_what_is_licensed_is_not_billed_beyond_the_end() -> None:
    before = subscription(
        item("seats", MONTH, quantity=1), item("tokens", MONTH), cancel_at=MONTH.end
    )
    parts = at_renewal(before, renewed(before), SOLD)
    assert owed(parts) == [("si_tokens", MONTH, "used")]


def test_a_trial_is_counted_and_free() -> None:
    """Worked example 32: at its end what is licensed is owed for the first time."""
    before = subscription(
        item("tokens", MONTH), item("seats", MONTH, quantity=2), status="trialing", trial=MONTH
    )
    after = renewed(before, status="active")
    assert owed(at_renewal(before, after, SOLD)) == [
        ("si_seats", NEXT, 2000),
        ("si_tokens", MONTH, "free"),
    ]


def test_an_end_bills_what_was_used_until_then() -> None:
    now = MONTH.start + 5000
    one = subscription(item("tokens", MONTH), item("seats", MONTH, quantity=2))
    assert owed(at_end(one, now, SOLD)) == [("si_tokens", Period(MONTH.start, now), "used")]
    later = subscription(item("tokens", MONTH, since=now))
    assert at_end(later, now, SOLD) == []


def test_a_start_bills_what_is_licensed() -> None:
    """Tiers are charged as for usage; with metered items alone there is nothing to bill."""
    one = subscription(item("tokens", MONTH), item("desks", MONTH, quantity=2), anchor=ANCHOR)
    assert owed(at_start(one, SOLD)) == [("si_desks", MONTH, 400), ("si_desks", MONTH, 50)]
    assert at_start(subscription(item("tokens", MONTH), anchor=ANCHOR), SOLD) == []


def test_a_part_of_a_period_is_not_charged_in_whole() -> None:
    stub = Period(MONTH.start + 1000, MONTH.end)
    assert at_start(subscription(item("seats", stub, quantity=1), anchor=ANCHOR), SOLD) == []


def test_a_classic_start_has_a_line_of_nothing() -> None:
    one = subscription(item("tokens", MONTH), mode="classic", anchor=ANCHOR)
    (line,) = at_start(one, SOLD)
    assert isinstance(line, Line)
    assert line.amount == line.quantity == 0
    assert line.description == "0 × Tokens (at $0.04 / month)"


def test_a_trial_begins_with_a_line_of_what_is_licensed() -> None:
    for mode, texts in (
        ("flexible", ["Free trial for 2 × Seats"]),
        ("classic", ["Trial period for Seats", "0 × Tokens (Free trial)"]),
    ):
        one = subscription(
            item("tokens", MONTH),
            item("seats", MONTH, quantity=2),
            mode=mode,
            status="trialing",
            trial=MONTH,
        )
        parts = at_start(one, SOLD)
        assert [part.description for part in parts if isinstance(part, Line)] == texts
        assert [part.amount for part in parts if isinstance(part, Line)] == [0] * len(texts)


def test_a_start_in_the_past_bills_each_period_since() -> None:
    """Worked example 36, and what a classic one leaves to its next invoice."""
    began = STARTS[1]
    one = subscription(
        item("tokens", MONTH), item("seats", MONTH, quantity=1), anchor=began, start=began
    )
    past = [Period(STARTS[1], STARTS[2]), Period(STARTS[2], STARTS[3])]
    assert owed(at_start(one, SOLD)) == [
        *(("si_seats", period, 1000) for period in (*past, MONTH)),
        *(("si_tokens", period, "used") for period in past),
    ]
    now = MONTH.start + 5000
    until_now = subscription(item("tokens", MONTH, since=now), anchor=began, start=began)
    assert owed(at_start(until_now, SOLD))[-1] == (
        "si_tokens",
        Period(MONTH.start, now),
        "used",
    )
    classic = subscription(
        item("tokens", MONTH, since=began), anchor=began, start=began, mode="classic"
    )
    assert owed(at_start(classic, SOLD)) == [("si_tokens", MONTH, 0)]
    assert owed(at_renewal(classic, renewed(classic), SOLD)) == [
        ("si_tokens", Period(began, MONTH.end), "used")
    ]


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
    parts = at_start(one, SOLD)
    waiting: list[InvoiceItem] = []
    for number, start in enumerate(STARTS[3:6], 3):
        end = STARTS[number + 1]
        for at in (at for at in changes if start <= at < end):
            one, left = _changed(one, at)
            waiting += left
        after = renewed(one, Period(end, STARTS[number + 2]))
        parts += [item_part(left, SOLD, "flexible") for left in waiting]
        parts += at_renewal(one, after, SOLD)
        one, waiting = after, []
    assert at_end(one, STARTS[6], SOLD) == []
    return [part.segment.usage_in for part in parts if isinstance(part, Usage)]


def _changed(one: Subscription, at: int) -> tuple[Subscription, list[InvoiceItem]]:
    """Change the price at an instant: what was used before it waits as an invoice item."""
    (old,) = one.items
    if old.since == at:
        return one, []
    left = InvoiceItem(
        id="ii",
        scope=1,
        customer="cus",
        subscription="sub",
        subscription_item=old.id,
        invoice=None,
        test_clock=None,
        currency="usd",
        description=None,
        amount=0,
        quantity=Decimal(0),
        unit_amount=Decimal(0),
        price=old.price,
        period=Period(old.since, at),
        usage_in=Period(old.since, at),
        created=0,
    )
    changed: Item = msgspec.structs.replace(old, since=at)
    return msgspec.structs.replace(one, items=(changed,)), [left]
