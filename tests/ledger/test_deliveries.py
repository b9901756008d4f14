import msgspec
import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import audit, deliveries, destinations, notifications, outbox
from meterhouse.ledger.deliveries import Attempt, Debt, Delivery, Status, Step, Waiting
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.tables import attempts
from meterhouse.wire.page import PageParams
from tests.ledger.samples import connected, destination, snapshot, two_scopes

NOW = 1_795_262_400_000
LATER = 2 * NOW  # the clock is believed
FAILED = Attempt(at=1_500, status=500, duration_ms=12, error=None, response="no\N{SNOWMAN}")
REFUSED = Attempt(at=1_600, status=None, duration_ms=1, error="connection refused", response="")


def owe(ledger: Ledger, scope: int, event: str, *to: str, now: int = 1_000) -> list[str]:
    """Make the event and what is missing of the destinations; return the ids of the deliveries."""
    with ledger.write() as connection:
        for one in to:
            if destinations.find_destination(connection, scope, one) is None:
                destinations.create_destination(connection, destination(scope, one))
        notifications.put(connection, snapshot(scope, event))
        deliveries.owe(connection, [(event, one, now) for one in to])
        found = deliveries.list_deliveries(connection, scope, PageParams(), notification=event)
    assert found is not None
    return [row.id for row in found[0]][::-1]


def step(
    ledger: Ledger,
    delivery: str,
    status: Status,
    attempt: Attempt | None,
    due: int | None,
    reached: int = LATER,
) -> None:
    with ledger.write() as connection:
        owed = deliveries.find_delivery(connection, 1, delivery)
        assert owed is not None
        debt = Debt(delivery, owed.next_attempt_at or 0)
        deliveries.record(connection, [Step(debt, attempt, status, due)], reached)


def find(ledger: Ledger, scope: int, delivery: str) -> Delivery:
    with ledger.read() as connection:
        found = deliveries.find_delivery(connection, scope, delivery)
    assert found is not None
    return found


def test_the_life_of_a_delivery(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    (one,) = owe(ledger, test, "evt_1", "we_1")
    owed = find(ledger, test, one)
    assert (owed.status, owed.attempts, owed.next_attempt_at) == ("pending", 0, 1_000)
    step(ledger, one, "pending", FAILED, 61_500)
    tried = find(ledger, test, one)
    assert (tried.status, tried.attempts, tried.next_attempt_at) == ("pending", 1, 61_500)
    step(ledger, one, "failed", REFUSED, None)
    failed = find(ledger, test, one)
    assert (failed.status, failed.attempts, failed.next_attempt_at) == ("failed", 2, None)
    with ledger.read() as connection:
        assert deliveries.attempts_of(connection, [one]) == {one: [FAILED, REFUSED]}
        assert deliveries.find_delivery(connection, live, one) is None
    with ledger.write() as connection:
        deliveries.owe_again(connection, "evt_1", "we_1", 9_000)
    again = find(ledger, test, one)
    assert (again.status, again.attempts, again.next_attempt_at) == ("pending", 2, 9_000)


def test_what_is_asked_for_again_is_a_new_debt(ledger: Ledger) -> None:
    """Given an attempt under way, when another is asked for, then its end pays only for itself."""
    test, _ = two_scopes(ledger)
    (one,) = owe(ledger, test, "evt_1", "we_1")
    arrived = Attempt(at=1_500, status=200, duration_ms=12, error=None, response="ok")
    with ledger.write() as connection:
        (debt,) = deliveries.debts(connection, "we_1", 9)
        deliveries.owe_again(connection, "evt_1", "we_1", debt.due)
        (again,) = deliveries.debts(connection, "we_1", 9)
        assert again.due < debt.due
        deliveries.record(connection, [Step(debt, arrived, "delivered", None)], LATER)
        assert deliveries.debts(connection, "we_1", 9) == [again]
        deliveries.record(connection, [Step(again, arrived, "delivered", None)], LATER)
    paid = find(ledger, test, one)
    assert (paid.status, paid.attempts, paid.next_attempt_at) == ("delivered", 2, None)


def test_the_newest_attempts_are_shown(ledger: Ledger) -> None:
    """Given one that was asked for again and again, and another with one attempt."""
    test, _ = two_scopes(ledger)
    one, other = owe(ledger, test, "evt_1", "we_1", "we_2")
    made = limits.DELIVERY_SHOWN_ATTEMPTS_MAX + 3
    for number in range(made):
        tried = msgspec.structs.replace(FAILED, at=number)
        step(ledger, one, "pending", tried, 1_000 + number)
    step(ledger, other, "failed", REFUSED, None)
    with ledger.read() as connection:
        shown = deliveries.attempts_of(connection, [one, other])
    assert [attempt.at for attempt in shown[one]] == list(range(3, made))
    assert shown[other] == [REFUSED]
    assert find(ledger, test, one).attempts == made


def test_a_cancelled_delivery_has_no_attempt(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    (one,) = owe(ledger, test, "evt_1", "we_1")
    step(ledger, one, "cancelled", None, None)
    cancelled = find(ledger, test, one)
    assert (cancelled.status, cancelled.attempts) == ("cancelled", 0)
    with ledger.read() as connection:
        assert deliveries.attempts_of(connection, [one]) == {one: []}
        assert deliveries.waiting(connection) == []


DAY = 86_400_000
# The status after each attempt and when it was made, with the destination's fate.
LIVES: list[tuple[list[tuple[Status, int]], int | None, bool]] = [
    ([("pending", 0)], 0, True),
    ([("pending", 0), ("pending", 6)], 0, True),
    ([("pending", 0), ("failed", 3)], 0, True),
    ([("pending", 0), ("failed", 5)], 0, False),
    ([("failed", 0), ("failed", 4), ("failed", 6)], 0, False),
    ([("pending", 0), ("delivered", 3)], None, True),
    ([("failed", 0), ("delivered", 3), ("failed", 5)], 5, True),
    ([("failed", 0), ("delivered", 3), ("failed", 5), ("failed", 10)], 5, False),
    ([("failed", 0), ("failed", 5), ("delivered", 6)], 0, False),
]


@pytest.mark.parametrize(("made", "failing_since", "enabled"), LIVES)
def test_a_destination_to_which_nothing_arrives_for_days_is_disabled(
    ledger: Ledger, made: list[tuple[Status, int]], failing_since: int | None, enabled: bool
) -> None:
    test, _ = two_scopes(ledger)
    ids = owe(ledger, test, "evt_1", "we_1", "we_2")
    for status, day in made:
        attempt = msgspec.structs.replace(FAILED, at=NOW + day * DAY)
        with ledger.write() as connection:
            deliveries.owe_again(connection, "evt_1", "we_1", NOW)
        step(ledger, ids[0], status, attempt, NOW if status == "pending" else None)
    with ledger.read() as connection:
        one = destinations.find_destination(connection, test, "we_1")
        other = destinations.find_destination(connection, test, "we_2")
        log = audit.list_entries(connection, test, PageParams(), audit.Filter())
    assert one is not None
    assert log is not None
    noted = [(entry.action, entry.object_id, entry.actor_type) for entry in log[0]]
    assert noted == ([] if enabled else [("event_destination.disabled", "we_1", "system")])
    since = None if failing_since is None else NOW + failing_since * DAY
    assert (one.failing_since, one.enabled) == (since, enabled)
    assert other == destination(test, "we_2")


@pytest.mark.parametrize(("reached", "enabled"), [(5 * DAY - 1, True), (5 * DAY, False)])
def test_a_destination_is_not_disabled_by_a_clock_that_is_ahead(
    ledger: Ledger, reached: int, enabled: bool
) -> None:
    test, _ = two_scopes(ledger)
    (one,) = owe(ledger, test, "evt_1", "we_1")
    step(ledger, one, "pending", msgspec.structs.replace(FAILED, at=NOW), NOW)
    jumped = msgspec.structs.replace(FAILED, at=NOW + 180 * DAY)
    step(ledger, one, "failed", jumped, None, NOW + reached)
    with ledger.read() as connection:
        found = destinations.find_destination(connection, test, "we_1")
    assert found is not None
    assert found.enabled == enabled


def test_what_a_clock_that_was_ahead_put_off_is_recalled(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    soon, late = owe(ledger, test, "evt_1", "we_1", "we_2")
    step(ledger, soon, "pending", FAILED, NOW - 1)
    step(ledger, late, "pending", FAILED, NOW + 180 * DAY)
    with ledger.write() as connection:
        deliveries.recall(connection, NOW)
    assert [find(ledger, test, one).next_attempt_at for one in (soon, late)] == [NOW - 1, NOW]


def test_what_arrives_with_the_last_failure_keeps_a_destination(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    debts = [
        Debt(owe(ledger, test, f"evt_{number}", "we_1", now=NOW)[0], NOW) for number in range(2)
    ]
    first, last = (msgspec.structs.replace(FAILED, at=NOW + days * DAY) for days in (0, 6))
    with ledger.write() as connection:
        deliveries.record(connection, [Step(debts[0], first, "pending", NOW)], LATER)
        steps = [Step(debts[0], last, "failed", None), Step(debts[1], last, "delivered", None)]
        assert deliveries.record(connection, steps, LATER) == []


def test_what_is_due(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    (late,) = owe(ledger, test, "evt_1", "we_1", now=5_000)
    early, other = owe(ledger, test, "evt_2", "we_1", "we_2", now=3_000)
    with ledger.write() as connection:
        off = destination(test, "we_2", enabled=False)
        destinations.update_destination(connection, off)
        assert set(deliveries.waiting(connection)) == {
            Waiting("we_1", True, 3_000),
            Waiting("we_2", False, 3_000),
        }
        assert deliveries.debts(connection, "we_1", 9) == [Debt(early, 3_000), Debt(late, 5_000)]
        assert deliveries.debts(connection, "we_1", 1) == [Debt(early, 3_000)]
        (owed,) = deliveries.owed(connection, [Debt(other, 3_000)])
        assert deliveries.owed(connection, []) == []
    assert owed.delivery.id == other
    assert owed.destination == off
    assert owed.notification == snapshot(test, "evt_2")
    assert (owed.origin.id, owed.origin.livemode, owed.undelivered) == (test, False, 2)


def test_a_platform_is_owed_of_its_accounts(ledger: Ledger) -> None:
    """Given an event of a connected account, then the delivery is the platform's to see."""
    test, _ = two_scopes(ledger)
    account = connected(ledger)
    with ledger.write() as connection:
        listening = destination(test, "we_1", events_from=["@accounts"])
        destinations.create_destination(connection, listening)
        outbox.emit(connection, snapshot(account, "evt_1"))
        assert outbox.stirred(connection)
        assert not outbox.stirred(connection)
        found = deliveries.list_deliveries(connection, test, PageParams())
        assert deliveries.list_deliveries(connection, account, PageParams()) == ([], False)
        assert found is not None
        (owed,) = deliveries.owed(connection, [Debt(found[0][0].id, 1_000)])
    assert (owed.origin.id, owed.delivery.scope) == (account, test)


def test_one_destination_can_be_told_alone(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    with ledger.write() as connection:
        for name in ("we_1", "we_2"):
            destinations.create_destination(connection, destination(test, name))
        outbox.emit_to(connection, snapshot(test, "evt_1"), "we_2")
        outbox.resend(connection, "evt_1", "we_2", 2_000)
        assert deliveries.waiting(connection) == [Waiting("we_2", True, 999)]
        outbox.resend(connection, "evt_1", "we_1", 3_000)
        assert len(deliveries.waiting(connection)) == 2


def test_lists(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    first, second = owe(ledger, test, "evt_1", "we_1", "we_2")
    (third,) = owe(ledger, test, "evt_2", "we_1")
    owe(ledger, live, "evt_3", "we_3")

    def ids(page: PageParams, **filters: str) -> list[str] | None:
        with ledger.read() as connection:
            found = deliveries.list_deliveries(connection, test, page, **filters)
        return None if found is None else [row.id for row in found[0]]

    assert ids(PageParams()) == [third, second, first]
    assert ids(PageParams(), notification="evt_1") == [second, first]
    assert ids(PageParams(), destination="we_1") == [third, first]
    assert ids(PageParams(), notification="evt_3") == []
    assert ids(PageParams(limit=1, starting_after=third)) == [second]
    assert ids(PageParams(starting_after="del_none")) is None


def test_what_has_not_arrived_is_counted(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    one, two, three = owe(ledger, test, "evt_1", "we_1", "we_2", "we_3")
    owe(ledger, test, "evt_2")
    step(ledger, one, "delivered", None, None)
    step(ledger, two, "cancelled", None, None)
    with ledger.read() as connection:
        assert deliveries.undelivered(connection, ["evt_1", "evt_2"]) == {"evt_1": 1}
    step(ledger, three, "failed", None, None)
    with ledger.read() as connection:
        assert deliveries.undelivered(connection, ["evt_1"]) == {"evt_1": 1}


def test_deliveries_go_with_their_notification(ledger: Ledger) -> None:
    """Given a delivery under way, when its notification goes, then its end is passed over."""
    test, _ = two_scopes(ledger)
    (gone,) = owe(ledger, test, "evt_1", "we_1")
    (kept,) = owe(ledger, test, "evt_2", "we_1")
    step(ledger, gone, "pending", FAILED, 61_500)
    with ledger.write() as connection:
        connection.execute(sa.text("DELETE FROM notifications WHERE id = 'evt_1'"))
        debts = [Debt(gone, 61_500), Debt(kept, 1_000)]
        steps = [Step(debt, REFUSED, "failed", None) for debt in debts]
        deliveries.record(connection, steps, LATER)
        assert deliveries.find_delivery(connection, test, gone) is None
        assert connection.scalars(sa.select(attempts.c.delivery)).all() == [kept]
    assert find(ledger, test, kept).status == "failed"
