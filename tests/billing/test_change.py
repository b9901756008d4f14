from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meterhouse.billing import change
from meterhouse.billing.change import Change
from meterhouse.billing.period import Period
from meterhouse.billing.price import Interval, Recurrence
from meterhouse.billing.subscription import Item, Subscription, next_step

RECURRENCES = {
    "a": Recurrence("month"),
    "b": Recurrence("month"),
    "week": Recurrence("week"),
    "seats": Recurrence("month"),
    "year": Recurrence("year"),
}
DAY = 86_400_000
Ranges = list[tuple[str, str, str]]


def at(text: str) -> int:
    """Return an instant, such as of `2027-01-31` or `2027-01-31T10:00`."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def item(id_: str, price: str, quantity: int | None = None) -> Item:
    return Item(
        id=id_,
        price=price,
        quantity=quantity,
        period=Period(0, 0),
        since=0,
        metadata={},
        created=0,
    )


def new(start: str, *items: Item, **changes: Any) -> Subscription:
    plain = Subscription(
        id="sub_1",
        scope=1,
        customer="cus_1",
        test_clock=None,
        status="active",
        currency="usd",
        mode="flexible",
        anchor=at(start),
        start=at(start),
        items=items,
        created=at(start),
    )
    return replace(plain, **changes)


def begun(start: str, *items: Item, **changes: Any) -> Subscription:
    return change.started(new(start, *items, **changes), RECURRENCES, at(start)).subscription


def periods(one: Change | Subscription) -> list[Period]:
    subscription = one.subscription if isinstance(one, Change) else one
    return [item.period for item in subscription.items]


def settled(one: Change) -> list[tuple[str, Period, str]]:
    return [(stretch.item.price, stretch.usage_in, stretch.fate) for stretch in one.settled]


def span(start: str, end: str) -> Period:
    return Period(at(start), at(end))


def test_periods_end_on_the_anchors_day_or_the_last_of_a_month() -> None:
    subscription = begun("2027-01-31T10:00", item("si_1", "a"))
    ends = []
    for _ in range(4):
        end = subscription.items[0].period.end
        ends.append(end)
        renewal = change.renewed(subscription, RECURRENCES, end)
        assert settled(renewal) == [("a", subscription.items[0].period, "billed")]
        subscription = renewal.subscription
    days = ("2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31")
    assert ends == [at(f"{day}T10:00") for day in days]


def test_a_stub_goes_up_to_an_anchor_that_is_to_come() -> None:
    subscription = begun("2027-01-20", item("si_1", "a"), anchor=at("2027-02-01"))
    assert periods(subscription) == [span("2027-01-20", "2027-02-01")]
    renewal = change.renewed(subscription, RECURRENCES, at("2027-02-01"))
    assert settled(renewal) == [("a", span("2027-01-20", "2027-02-01"), "billed")]
    assert periods(renewal) == [span("2027-02-01", "2027-03-01")]


def test_items_of_different_intervals_renew_each_in_its_time() -> None:
    subscription = begun("2027-01-01", item("si_1", "a"), item("si_2", "week"))
    assert subscription.period == span("2027-01-01", "2027-01-08")
    renewal = change.renewed(subscription, RECURRENCES, at("2027-01-08"))
    assert settled(renewal) == [("week", span("2027-01-01", "2027-01-08"), "billed")]
    assert periods(renewal) == [
        span("2027-01-01", "2027-02-01"),
        span("2027-01-08", "2027-01-15"),
    ]
    assert renewal.subscription.period == span("2027-01-08", "2027-01-15")


@pytest.mark.parametrize(
    ("mode", "billed", "ranges", "since"),
    [
        (
            "flexible",
            True,
            [
                ("2027-03-01", "2027-04-01", "billed"),
                ("2027-04-01", "2027-04-20", "billed"),
            ],
            "2027-04-20",
        ),
        (
            "flexible",
            False,
            [
                ("2027-03-01", "2027-04-01", "dropped"),
                ("2027-04-01", "2027-04-20", "dropped"),
            ],
            "2027-04-20",
        ),
        ("classic", True, [], "2027-03-01"),
    ],
)
def test_one_that_is_backdated(mode: str, billed: bool, ranges: Ranges, since: str) -> None:
    subscription = new("2027-03-01", item("si_1", "a"), item("si_2", "seats", 3), mode=mode)
    made = change.started(subscription, RECURRENCES, at("2027-04-20"), billed=billed)
    assert settled(made) == [("a", span(*days), fate) for *days, fate in ranges]
    assert periods(made) == [span("2027-04-01", "2027-05-01")] * 2
    assert made.subscription.items[0].since == at(since)


def test_usage_of_a_trial_is_free_and_periods_follow_on_it() -> None:
    trial = span("2027-01-05", "2027-01-19")
    subscription = begun(
        "2027-01-05", item("si_1", "a"), status="trialing", trial=trial, anchor=trial.end
    )
    assert periods(subscription) == [trial]
    ended = change.trial_ended(subscription, RECURRENCES, trial.end)
    assert settled(ended) == [("a", trial, "free")]
    assert ended.subscription.status == "active"
    assert periods(ended) == [span("2027-01-19", "2027-02-19")]

    early = change.trial_ended(subscription, RECURRENCES, at("2027-01-10"))
    assert settled(early) == [("a", span("2027-01-05", "2027-01-10"), "free")]
    assert early.subscription.trial == span("2027-01-05", "2027-01-10")
    assert periods(early) == [span("2027-01-10", "2027-02-10")]

    longer = change.trial_set(subscription, at("2027-01-10"), at("2027-01-25"))
    assert settled(longer) == []
    assert periods(longer) == [span("2027-01-05", "2027-01-25")]
    assert longer.subscription.anchor == at("2027-01-25")


def test_an_anchor_after_a_trial_stays() -> None:
    trial = span("2027-01-05", "2027-01-19")
    subscription = begun(
        "2027-01-05", item("si_1", "a"), status="trialing", trial=trial, anchor=at("2027-02-01")
    )
    ended = change.trial_ended(subscription, RECURRENCES, trial.end)
    assert ended.subscription.anchor == at("2027-02-01")
    assert periods(ended) == [span("2027-01-19", "2027-02-01")]


def test_a_trial_in_mid_period_settles_what_was_used_before() -> None:
    subscription = begun("2027-01-01", item("si_1", "a"))
    tried = change.trial_set(subscription, at("2027-01-10"), at("2027-01-20"))
    assert settled(tried) == [("a", span("2027-01-01", "2027-01-10"), "billed")]
    assert tried.subscription.status == "trialing"
    ended = change.trial_ended(tried.subscription, RECURRENCES, at("2027-01-20"))
    assert settled(ended) == [("a", span("2027-01-10", "2027-01-20"), "free")]
    assert periods(ended) == [span("2027-01-20", "2027-02-20")]


CHANGED = item("si_1", "b")
Turn = Callable[[Subscription, int], Change]
TURNS: dict[str, tuple[Turn, str]] = {
    "another price": (
        lambda one, now: change.item_changed(one, CHANGED, RECURRENCES, now, billed=True),
        "billed",
    ),
    "another price, unbilled": (
        lambda one, now: change.item_changed(one, CHANGED, RECURRENCES, now, billed=False),
        "dropped",
    ),
    "removed": (lambda one, now: change.item_removed(one, "si_1", now, billed=True), "billed"),
    "anchored anew": (lambda one, now: change.anchored(one, RECURRENCES, now), "billed"),
    "paused": (lambda one, now: change.paused(one, now, billed=True), "billed"),
    "canceled": (lambda one, now: change.canceled(one, now, billed=True), "billed"),
    "canceled, unbilled": (lambda one, now: change.canceled(one, now, billed=False), "dropped"),
}


@pytest.mark.parametrize(("turn", "fate"), TURNS.values(), ids=TURNS)
def test_what_settles_the_usage_so_far(turn: Turn, fate: str) -> None:
    subscription = begun("2027-01-01", item("si_1", "a"))
    assert settled(turn(subscription, at("2027-01-15"))) == [
        ("a", span("2027-01-01", "2027-01-15"), fate)
    ]
    trial = span("2027-01-01", "2027-02-01")
    on_trial = replace(subscription, status="trialing", trial=trial)
    free = settled(turn(on_trial, at("2027-01-15")))
    if turn is not TURNS["anchored anew"][0]:
        assert free == [("a", span("2027-01-01", "2027-01-15"), "free")]


def test_an_item_keeps_its_period_under_another_price_and_may_come_late() -> None:
    subscription = begun("2027-01-01", item("si_1", "a"))
    now = at("2027-01-15")
    changed = change.item_changed(subscription, CHANGED, RECURRENCES, now, billed=True)
    (one,) = changed.subscription.items
    assert (one.price, one.period, one.since) == ("b", span("2027-01-01", "2027-02-01"), now)

    yearly = change.item_changed(
        subscription, replace(CHANGED, price="year"), RECURRENCES, now, billed=True
    )
    assert periods(yearly) == [span("2027-01-01", "2028-01-01")]

    same = replace(item("si_1", "a"), metadata={"a": "b"})
    kept = change.item_changed(subscription, same, RECURRENCES, now, billed=True)
    assert kept.settled == ()
    assert kept.subscription.items[0].since == at("2027-01-01")
    assert kept.subscription.items[0].metadata == {"a": "b"}

    added = change.item_added(subscription, item("si_2", "b"), RECURRENCES, now)
    assert added.settled == ()
    assert periods(added) == [span("2027-01-01", "2027-02-01")] * 2
    assert [one.since for one in added.subscription.items] == [at("2027-01-01"), now]


def test_what_is_licensed_has_no_usage() -> None:
    subscription = begun("2027-01-01", item("si_1", "seats", 5))
    assert change.renewed(subscription, RECURRENCES, at("2027-02-01")).settled == ()
    assert change.canceled(subscription, at("2027-01-15"), billed=True).settled == ()


def test_usage_in_a_pause_is_free_of_charge() -> None:
    subscription = begun("2027-01-01", item("si_1", "a"))
    still = change.paused(subscription, at("2027-01-10"), billed=True).subscription
    assert next_step(still, 0) is None
    anew = change.resumed(still, RECURRENCES, at("2027-03-05"), anew=True)
    assert settled(anew) == [("a", span("2027-01-10", "2027-03-05"), "dropped")]
    assert periods(anew) == [span("2027-03-05", "2027-04-05")]
    on = change.resumed(still, RECURRENCES, at("2027-03-05"), anew=False)
    assert periods(on) == [span("2027-03-01", "2027-04-01")]
    over = change.canceled(still, at("2027-03-05"), billed=True)
    assert settled(over) == [("a", span("2027-01-10", "2027-03-05"), "dropped")]


def test_whether_prices_share_a_period() -> None:
    flexible = new("2027-01-01")
    assert change.splits(flexible, "create_prorations")
    assert change.splits(flexible, "always_invoice")
    assert not change.splits(flexible, "none")
    assert not change.splits(replace(flexible, mode="classic"), "create_prorations")


# ---- Nothing is settled twice, and nothing is left out, whatever comes when ----

ACTS = st.tuples(
    st.sampled_from(
        ["add", "anchor", "change", "pause", "remove", "resume", "renew", "trial", "untrial"]
    ),
    st.integers(0, 20 * DAY),
    st.sampled_from(["a", "b", "week", "year"]),
    st.booleans(),
)


class Books:
    """What happened to each item: which prices it had from when on, and what was settled."""

    def __init__(self, subscription: Subscription, now: int) -> None:
        self.subscription = subscription
        self.now = now
        self.prices: dict[str, list[tuple[int, str]]] = {}
        self.settled: dict[str, list[tuple[str, Period]]] = {}
        self.gone: dict[str, int] = {}

    def take(self, one: Change, begin: int | None = None) -> None:
        """Note a change, and that new items and prices count from `begin` on, or from now."""
        for stretch in one.settled:
            known = self.settled.setdefault(stretch.item.id, [])
            known.append((stretch.item.price, stretch.usage_in))
        for each in one.subscription.items:
            prices = self.prices.setdefault(each.id, [])
            if not prices or prices[-1][1] != each.price:
                prices.append((self.now if begin is None else begin, each.price))
        left = {each.id for each in one.subscription.items}
        for each in self.subscription.items:
            if each.id not in left:
                self.gone[each.id] = self.now
        self.subscription = one.subscription

    def pass_to(self, instant: int) -> None:
        """Let everything happen that is due by `instant`."""
        while (step := next_step(self.subscription, 0)) is not None and step.at <= instant:
            self.now = step.at
            if step.kind == "trial_will_end":
                self.subscription = replace(self.subscription, trial_told=True)
            elif step.kind == "trial_ends":
                self.take(change.trial_ended(self.subscription, RECURRENCES, step.at))
            else:
                assert step.kind == "renews"
                self.take(change.renewed(self.subscription, RECURRENCES, step.at))
        self.now = instant

    def check(self) -> None:
        """Every instant of each item is settled once, at the price that it had then."""
        sinces = {each.id: each.since for each in self.subscription.items}
        for id_, prices in self.prices.items():
            at_ = prices[0][0]
            for price, usage_in in self.settled.get(id_, []):
                assert usage_in.start == at_ < usage_in.end
                held = [name for since, name in prices if since <= usage_in.start]
                assert price == held[-1]
                assert not any(usage_in.start < since < usage_in.end for since, _ in prices)
                at_ = usage_in.end
            assert at_ == self.gone.get(id_, sinces.get(id_))


def act(books: Books, kind: str, price: str, billed: bool) -> None:
    one, now = books.subscription, books.now
    metered = item(f"si_{len(books.prices)}", price)
    if kind == "add" and one.status != "paused":
        books.take(change.item_added(one, metered, RECURRENCES, now))
    elif kind == "change" and one.status != "paused":
        changed = replace(one.items[0], price=price)
        books.take(change.item_changed(one, changed, RECURRENCES, now, billed=billed))
    elif kind == "remove" and len(one.items) > 1 and one.status != "paused":
        books.take(change.item_removed(one, one.items[-1].id, now, billed=billed))
    elif kind == "anchor" and one.status == "active":
        books.take(change.anchored(one, RECURRENCES, now))
    elif kind == "pause" and one.status == "active":
        books.take(change.paused(one, now, billed=billed))
    elif kind == "resume" and one.status == "paused":
        books.take(change.resumed(one, RECURRENCES, now, anew=billed))
    elif kind == "trial" and one.status != "paused":
        books.take(change.trial_set(one, now, now + 10 * DAY))
    elif kind == "untrial" and one.status == "trialing":
        books.take(change.trial_ended(one, RECURRENCES, now))


@given(
    st.lists(ACTS, max_size=12),
    st.sampled_from(["flexible", "classic"]),
    st.integers(0, 70 * DAY),
)
def test_every_instant_is_settled_once(
    acts: list[tuple[str, int, str, bool]], mode: str, backdated: int
) -> None:
    now = at("2027-01-31T10:00")
    subscription = replace(
        new("2027-01-31T10:00", item("si_0", "a"), mode=mode), start=now - backdated
    )
    books = Books(subscription, now)
    books.take(change.started(subscription, RECURRENCES, now), begin=subscription.start)
    books.check()
    for kind, wait, price, billed in acts:
        books.pass_to(books.now + wait)
        act(books, kind, price, billed)
        books.check()
        for each in books.subscription.items:
            going = books.subscription.status != "paused"
            assert not going or each.period.start <= books.now < each.period.end
    books.pass_to(books.now + 3 * DAY)
    books.take(change.canceled(books.subscription, books.now, billed=True))
    books.check()
    assert all(each.since == books.now for each in books.subscription.items)


@given(st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 3), st.integers(0, 10**12))
def test_a_period_that_begins_holds_its_beginning(interval: Interval, count: int, now: int) -> None:
    recurrence = Recurrence(interval, count)
    subscription = replace(new("2027-01-01"), anchor=now, start=now)
    period = change.current_period(subscription, recurrence, now)
    assert period.start == now < period.end
