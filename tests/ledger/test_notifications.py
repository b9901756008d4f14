from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from meterhouse.ledger import deliveries, destinations, notifications
from meterhouse.ledger.deliveries import Attempt, Status, Step
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.notifications import Filter
from meterhouse.ledger.tables import notifications as table
from meterhouse.wire.notification import Notification
from meterhouse.wire.page import PageParams
from tests.ledger.samples import destination, snapshot, thin, two_scopes


def put(ledger: Ledger, *new: Notification) -> None:
    with ledger.write() as connection:
        for one in new:
            notifications.put(connection, one)


def owe(ledger: Ledger, scope: int, event_id: str, status: Status) -> None:
    """Owe an event to a destination, and let the delivery come to `status`."""
    with ledger.write() as connection:
        destinations.create_destination(connection, destination(scope, "ed_1"))
        deliveries.owe(connection, [(event_id, "ed_1", 1_000)])
        (debt,) = deliveries.debts(connection, "ed_1", 10)
        due = debt.due if status == "pending" else None
        deliveries.record(connection, [Step(debt, None, status, due)], 1_000)


def ids(ledger: Ledger, scope: int, wanted: Filter, **page: Any) -> list[str]:
    with ledger.read() as connection:
        found = notifications.list_notifications(connection, scope, PageParams(**page), wanted)
    assert found is not None
    return [one.id for one in found[0]]


def test_a_notification_comes_back_as_it_was_put(ledger: Ledger) -> None:
    scope, other = two_scopes(ledger)
    full = snapshot(scope, "evt_1", idempotency_key="k", body={"object": {"größe": [1, None]}})
    empty = thin(scope, "evt_2")
    twin = thin(scope, "evt_3", snapshot_event="evt_1", body=None)
    put(ledger, full, empty, twin)
    with ledger.read() as connection:
        for one in (full, empty, twin):
            assert notifications.find(connection, scope, one.id) == one
        assert notifications.find(connection, other, "evt_1") is None
        assert notifications.find(connection, scope, "evt_9") is None


def test_a_snapshot_event_has_an_object(ledger: Ledger) -> None:
    scope, _ = two_scopes(ledger)
    with pytest.raises(IntegrityError):
        put(ledger, snapshot(scope, "evt_1", body=None))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter("snapshot"), ["evt_4", "evt_3", "evt_1"]),
        (Filter("thin"), ["evt_2"]),
        (Filter("snapshot", ["customer.created"]), ["evt_3"]),
        (Filter("snapshot", ["billing.meter.*"]), ["evt_4", "evt_1"]),
        (Filter("snapshot", ["billing.*", "customer.created"]), ["evt_4", "evt_3", "evt_1"]),
        (Filter("snapshot", ["*"]), ["evt_4", "evt_3", "evt_1"]),
        (Filter("snapshot", ["Billing.*", "b%", "billing_meter.*", "billing.meter"]), []),
        (Filter("snapshot", object_id="cus_1"), ["evt_3"]),
        (Filter("snapshot", created=(2_000, None)), ["evt_4", "evt_3"]),
        (Filter("snapshot", created=(1_000, 2_000)), ["evt_1"]),
        (Filter("thin", ["v1.*"], created=(None, 2_001)), ["evt_2"]),
    ],
)
def test_the_list_is_filtered(ledger: Ledger, wanted: Filter, found: list[str]) -> None:
    scope, live = two_scopes(ledger)
    put(
        ledger,
        snapshot(scope, "evt_1"),
        thin(scope, "evt_2", created=2_000),
        snapshot(scope, "evt_3", "customer.created", object_id="cus_1", created=2_000),
        snapshot(scope, "evt_4", "billing.meter.updated", created=3_000),
        snapshot(live, "evt_5"),
    )
    assert ids(ledger, scope, wanted) == found


def test_the_list_is_cut_into_pages(ledger: Ledger) -> None:
    scope, _ = two_scopes(ledger)
    put(ledger, *(snapshot(scope, f"evt_{number}") for number in range(5)))
    wanted = Filter("snapshot")
    assert ids(ledger, scope, wanted, limit=2) == ["evt_4", "evt_3"]
    assert ids(ledger, scope, wanted, limit=2, starting_after="evt_3") == ["evt_2", "evt_1"]
    assert ids(ledger, scope, wanted, limit=2, ending_before="evt_1") == ["evt_3", "evt_2"]
    with ledger.read() as connection:
        page = PageParams(starting_after="evt_9")
        assert notifications.list_notifications(connection, scope, page, wanted) is None


@pytest.mark.parametrize(
    ("status", "delivered"),
    [("delivered", True), ("cancelled", True), ("pending", False), ("failed", False)],
)
def test_the_list_tells_what_has_arrived(ledger: Ledger, status: Status, delivered: bool) -> None:
    scope, _ = two_scopes(ledger)
    put(ledger, snapshot(scope, "evt_1"), snapshot(scope, "evt_2"))
    owe(ledger, scope, "evt_1", status)
    assert ids(ledger, scope, Filter("snapshot", delivered=delivered))[-1] == "evt_1"
    assert ids(ledger, scope, Filter("snapshot", delivered=not delivered)) == (
        [] if delivered else ["evt_2"]
    )


def test_reading_on(ledger: Ledger) -> None:
    scope, live = two_scopes(ledger)
    with ledger.read() as connection:
        assert notifications.last(connection) == 0
        assert notifications.after(connection, 0, 10) == []
    new = [snapshot(scope, "evt_1"), thin(live, "evt_2"), thin(scope, "evt_3")]
    put(ledger, *new)
    with ledger.read() as connection:
        first = notifications.after(connection, 0, 2)
        assert [one for _, one in first] == new[:2]
        rest = notifications.after(connection, first[-1][0], 10)
        assert rest == [(notifications.last(connection), new[2])]


def test_what_is_over_its_time_goes_and_its_number_is_not_given_again(ledger: Ledger) -> None:
    scope, _ = two_scopes(ledger)
    put(ledger, *(snapshot(scope, f"evt_{number}", created=number) for number in range(5)))
    with ledger.read() as connection:
        last = notifications.last(connection)
    with ledger.write() as connection:
        assert notifications.expire(connection, 3, 2) == 2
        assert notifications.expire(connection, 3, 2) == 1
        assert notifications.expire(connection, 3, 2) == 0
        assert notifications.expire(connection, 99, 99) == 2
    put(ledger, thin(scope, "evt_6"))
    with ledger.read() as connection:
        assert [number for number, _ in notifications.after(connection, 0, 10)] == [last + 1]
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 1


def test_events_about_an_object_are_erased(ledger: Ledger) -> None:
    scope, other = two_scopes(ledger)
    about: dict[str, Any] = {
        "object_id": "cus_1",
        "body": {"object": {"id": "cus_1", "name": "Ada"}},
    }
    old, fresh = snapshot(scope, "evt_1", **about), snapshot(scope, "evt_2", created=5_000, **about)
    strange, elsewhere = snapshot(scope, "evt_3"), snapshot(other, "evt_4", **about)
    put(ledger, old, fresh, strange, elsewhere)
    left = {"id": "cus_1", "deleted": True}
    with ledger.write() as connection:
        assert notifications.erase(connection, scope, left, 9, created_before=5_000) == 1
        assert notifications.erase(connection, scope, left, 9, created_before=5_000) == 0
        assert not notifications.erased(connection, scope, "cus_1")
        assert notifications.find(connection, scope, "evt_2") == fresh
        assert notifications.erase(connection, scope, left, 9) == 1
        assert notifications.erased(connection, scope, "cus_1")
        for one in ("evt_1", "evt_2"):
            found = notifications.find(connection, scope, one)
            assert found is not None
            assert found.body == {"object": left}
        assert notifications.find(connection, scope, "evt_3") == strange
        assert notifications.find(connection, other, "evt_4") == elsewhere


def test_an_event_that_is_owed_is_kept_until_it_arrives(ledger: Ledger) -> None:
    scope, _ = two_scopes(ledger)
    put(ledger, snapshot(scope, "evt_1", object_id="cus_1"))
    owe(ledger, scope, "evt_1", "pending")
    left = {"id": "cus_1", "deleted": True}
    attempt = Attempt(at=2_000, status=200, duration_ms=5, error=None, response="thanks, Ada")
    with ledger.write() as connection:
        assert notifications.erase(connection, scope, left, 9) == 0
        (debt,) = deliveries.debts(connection, "ed_1", 10)
        deliveries.record(connection, [Step(debt, attempt, "delivered", None)], 2_000)
        assert notifications.erase(connection, scope, left, 9) == 1
        [[told]] = deliveries.attempts_of(connection, [debt.delivery]).values()
        assert told == msgspec.structs.replace(attempt, response="")


def test_an_event_that_is_owed_can_be_erased_all_the_same(ledger: Ledger) -> None:
    scope, _ = two_scopes(ledger)
    put(ledger, snapshot(scope, "evt_1", object_id="cus_1"))
    owe(ledger, scope, "evt_1", "pending")
    attempt = Attempt(at=2_000, status=500, duration_ms=5, error=None, response="no, Ada")
    with ledger.write() as connection:
        left = {"id": "cus_1", "deleted": True}
        (debt,) = deliveries.debts(connection, "ed_1", 10)  # and its attempt is under way
        assert notifications.erase(connection, scope, left, 9, owed=True) == 1
        deliveries.record(connection, [Step(debt, attempt, "failed", None)], 2_000)
        [[told]] = deliveries.attempts_of(connection, [debt.delivery]).values()
        assert told == msgspec.structs.replace(attempt, response="")
