"""The search in the store against what it means for one event: `EventSearch.wants`."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse import limits
from meterhouse.metering.model import Scope
from meterhouse.metering.search import EventSearch, FoundEvent, filled
from meterhouse.metering.window import Window
from meterhouse.usage.search import Page, pages
from meterhouse.usage.store import UsageStore
from tests.metering.rows import AcceptedEvent, RejectedEvent
from tests.metering.samples import HOUR, METER, NOW, event
from tests.usage.samples import (
    accepted,
    accepted_blocks,
    cancelled_blocks,
    insert,
    new_scope,
    next_position,
    rejected_blocks,
    stored,
)

EVERYTHING = Page(0, 2**63, 1_000)


def put(store: UsageStore, scope: Scope, *rows: AcceptedEvent | RejectedEvent) -> None:
    """Insert events that were accepted or rejected."""
    scopes = {scope.id: scope}
    insert(store, accepted_blocks([one for one in rows if isinstance(one, AcceptedEvent)], scopes))
    insert(store, rejected_blocks([one for one in rows if isinstance(one, RejectedEvent)], scopes))


def put_duplicate(store: UsageStore, scope: Scope, row: AcceptedEvent) -> None:
    insert(store, accepted_blocks([row], {scope.id: scope}, "duplicate_events"))


def rejected(
    scope: Scope, code: str = "no_meter", meter: str = "", **changes: Any
) -> RejectedEvent:
    made = event(scope=scope.id, **changes)
    return RejectedEvent(next_position(), made, meter or None, code, "Why.")


def ask(store: UsageStore, scope: Scope, page: Page = EVERYTHING, **wanted: Any) -> list[str]:
    """Return the identifiers of what a search finds."""
    return [one.identifier for one in store.search(EventSearch(scope=scope, **wanted), page)]


def test_every_outcome_is_found_newest_first(store: UsageStore, scope: Scope) -> None:
    first, last = accepted(scope, "2.5", identifier="a"), accepted(scope, "3", identifier="a")
    wrong = rejected(scope, identifier="b", payload={"k": "v"}, event_name="cals")
    put(store, scope, first, wrong)
    put_duplicate(store, scope, last)
    again, found, other = sorted(
        store.search(EventSearch(scope=scope), EVERYTHING),
        key=lambda one: one.outcome != "duplicate",
    )
    assert again.outcome == "duplicate"
    assert again.position == last.position
    assert again.value == 3
    assert found.outcome == "rejected"
    assert (found.code, found.message, found.value, found.meter) == ("no_meter", "Why.", None, "")
    assert found.payload == {"k": "v"}
    assert other == FoundEvent(
        position=first.position,
        outcome="accepted",
        meter="mtr_1",
        customer="cus_1",
        event_name="calls",
        identifier="a",
        timestamp=NOW,
        received_at=NOW,
        value=first.value,
        payload=first.event.payload,
    )
    positions = [one.position for one in store.search(EventSearch(scope=scope), EVERYTHING)]
    assert positions == sorted(positions, reverse=True)


names = st.sampled_from(["a", "b", "c'\\", "{first:UInt64}"])
instants = st.integers(0, 3).map(lambda hours: NOW - hours * HOUR)
bounds = st.tuples(st.none() | instants, st.none() | instants)
events = st.builds(
    lambda meter, name, customer, identifier, at, received_at, outcome: (
        outcome,
        meter,
        customer,
        {
            "event_name": name,
            "identifier": identifier,
            "timestamp": min(at, received_at),  # no later: such an event would be rejected
            "received_at": received_at,
            "payload": {"stripe_customer_id": customer},
        },
    ),
    *[names] * 4,
    instants,
    instants,
    st.sampled_from(["accepted", "duplicate", "rejected"]),
)
searches = st.fixed_dictionaries(
    {},
    optional={
        "meter": names,
        "event_name": names,
        "customer": names,
        "identifiers": st.lists(names, max_size=3).map(tuple),
        "outcome": st.sampled_from(["accepted", "duplicate", "pending", "rejected"]),
        "code": st.sampled_from(["no_meter", "archived_meter"]),
        "received": bounds,
        "timestamp": bounds,
    },
)


@settings(max_examples=15)
@given(st.lists(events, max_size=12), st.lists(searches, min_size=9, max_size=9))
def test_a_search_finds_what_it_wants(
    store: UsageStore, rows: list[Any], wanted: list[dict[str, Any]]
) -> None:
    scope = new_scope()
    scopes = {scope.id: scope}
    counted: dict[str, list[AcceptedEvent]] = {"accepted": [], "duplicate": []}
    wrong: list[RejectedEvent] = []
    for outcome, meter, customer, details in rows:
        if outcome == "rejected":
            wrong.append(rejected(scope, meter=meter, **details))
        else:
            row = accepted(scope, meter=meter, customer=customer, **details)
            counted[outcome].append(row)
    insert(store, accepted_blocks(counted["accepted"], scopes))
    insert(store, accepted_blocks(counted["duplicate"], scopes, "duplicate_events"))
    insert(store, rejected_blocks(wrong, scopes))
    everything = [filled(one, METER) for one in store.search(EventSearch(scope=scope), EVERYTHING)]
    assert len(everything) == len(rows)
    page = Page(0, everything[0].position + 1 if everything else 1, len(rows) + 1)
    for one in wanted:
        search = EventSearch(scope=scope, **one)
        found = [filled(row, METER) for row in store.search(search, page)]
        assert found == [row for row in everything if search.wants(row)]


def test_a_page_is_cut_at_a_position(store: UsageStore, scope: Scope) -> None:
    rows = [accepted(scope, identifier=name) for name in "abcde"]
    put(store, scope, *rows)
    first, middle = rows[0].position, rows[2].position
    assert ask(store, scope, Page(0, middle, 1)) == ["b"]
    assert ask(store, scope, Page(0, middle, 9)) == ["b", "a"]
    assert ask(store, scope, Page(middle + 1, 2**63, 1, oldest=True)) == ["d"]
    assert ask(store, scope, Page(first, first + 1, 9)) == ["a"]
    assert ask(store, scope, Page(first, first, 9)) == []


def test_a_cancellation_is_no_event(store: UsageStore, scope: Scope) -> None:
    row = accepted(scope, identifier="a")
    put(store, scope, row)
    insert(store, cancelled_blocks([stored(row, scope)]))
    assert ask(store, scope) == ["a"]


def test_books_are_apart(store: UsageStore, scope: Scope) -> None:
    live = Scope(scope.id + 1_000_000, scope.account, livemode=True)
    put(store, scope, accepted(scope, identifier="test"))
    put(store, live, rejected(live, identifier="live"))
    assert (ask(store, scope), ask(store, live), ask(store, new_scope())) == (
        ["test"],
        ["live"],
        [],
    )


def test_a_rejected_customer_is_found_under_any_key_of_the_account(
    store: UsageStore, scope: Scope
) -> None:
    put(store, scope, rejected(scope, identifier="a", payload={"buyer": "cus_1"}))
    assert ask(store, scope, customer="cus_1") == []
    assert ask(store, scope, customer="cus_1", customer_keys=("buyer", "other")) == ["a"]


def test_rejected_events_are_counted_by_their_identifiers(store: UsageStore, scope: Scope) -> None:
    rows = [rejected(scope, identifier=name) for name in "aab"]
    put(store, scope, *rows, rejected(scope, "archived_meter", identifier="c"))
    wanted = EventSearch(scope=scope, code="no_meter")
    assert store.count_rejected(wanted, EVERYTHING) == 2
    newest = {"a": rows[1].position, "b": rows[2].position}
    assert store.newest(wanted, "rejected", EVERYTHING) == newest
    assert store.newest(wanted, "rejected", Page(0, rows[1].position, 0)) == {"a": rows[0].position}


def test_the_newest_accepted_event_of_each_identifier(store: UsageStore, scope: Scope) -> None:
    rows = [accepted(scope, identifier=name) for name in "aab"]
    put(store, scope, *rows, rejected(scope, identifier="c"))
    wanted = EventSearch(scope=scope, identifiers=("a", "c"))
    assert store.newest(wanted, "accepted", EVERYTHING) == {"a": rows[1].position}
    assert store.newest(wanted, "accepted", Page(0, rows[1].position, 1)) == {"a": rows[0].position}


@pytest.mark.parametrize("cancel", [False, True])
def test_a_later_event_of_the_window_overwrites(
    store: UsageStore, scope: Scope, cancel: bool
) -> None:
    first, second = (accepted(scope, identifier=name) for name in "ab")
    put(store, scope, first, second, accepted(scope, identifier="c", customer="cus_2"))
    if cancel:
        insert(store, cancelled_blocks([stored(second, scope)]))
    found = {one.identifier: one for one in store.search(EventSearch(scope=scope), EVERYTHING)}
    window = Window(NOW - HOUR, NOW + HOUR)
    assert store.overwritten_by(scope, found["a"], window) == (None if cancel else "b")
    assert store.overwritten_by(scope, found["b"], window) is None
    assert store.overwritten_by(scope, found["a"], Window(NOW, NOW)) is None


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.booleans())
def test_stretches_cover_a_page_without_gap_or_overlap(
    first: int, length: int, oldest: bool
) -> None:
    page = Page(first, first + length, 7, oldest)
    cut = list(pages(page, whole=False))
    assert list(pages(page, whole=True)) == ([page] if length else [])
    ordered = cut if oldest else cut[::-1]
    places = [place for one in ordered for place in one[:2]]
    assert places == sorted(places)
    assert places[1:-1:2] == places[2:-1:2]
    assert (places[:1], places[-1:]) == (([first], [first + length]) if length else ([], []))
    assert not cut or cut[0].end - cut[0].first <= limits.SEARCH_STRETCH_EVENTS
