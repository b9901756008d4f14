import threading
from typing import Any

import msgspec
import pytest
from sqlalchemy.exc import IntegrityError

from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.meters import (
    Status,
    active_by_names,
    archived_by_names,
    by_ids,
    create_meter,
    deactivate_meter,
    find_meter,
    list_meters,
    reactivate_meter,
    rename_meter,
)
from meterhouse.metering.model import Meter
from meterhouse.wire.page import PageParams


@pytest.fixture
def scopes(ledger: Ledger) -> tuple[int, int]:
    with ledger.write() as connection:
        test, live = scopes_of(connection, default_account(connection, now=1).id)
        return test.id, live.id


def meter(scope: int, meter_id: str, event_name: str = "calls", **changes: Any) -> Meter:
    plain = Meter(
        id=meter_id,
        scope=scope,
        event_name=event_name,
        display_name="Calls",
        formula="sum",
        event_time_window=None,
        customer_key="stripe_customer_id",
        value_key="value",
        dimension_keys=None,
        active=True,
        created=1_000,
        updated=1_000,
        deactivated_at=None,
    )
    return msgspec.structs.replace(plain, **changes)


def put(ledger: Ledger, *new: Meter) -> None:
    with ledger.write() as connection:
        for one in new:
            assert create_meter(connection, one) == one


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"formula": "last", "event_time_window": "day"},
        {"formula": "count", "event_time_window": "hour", "dimension_keys": ("model", "région")},
        {"customer_key": "who", "value_key": "how much", "dimension_keys": ()},
        {"active": False, "deactivated_at": 2_000},
    ],
)
def test_a_meter_comes_back_as_it_was_stored(
    ledger: Ledger, scopes: tuple[int, int], changes: dict[str, Any]
) -> None:
    stored = meter(scopes[0], "mtr_1", **changes)
    put(ledger, stored)
    with ledger.read() as connection:
        assert find_meter(connection, scopes[0], "mtr_1") == stored
        assert find_meter(connection, scopes[1], "mtr_1") is None
        assert find_meter(connection, scopes[0], "mtr_2") is None


def test_an_event_name_has_one_active_meter_in_a_scope(
    ledger: Ledger, scopes: tuple[int, int]
) -> None:
    test, live = scopes
    put(ledger, meter(test, "mtr_1"), meter(live, "mtr_2"), meter(test, "mtr_3", "bytes"))
    with ledger.write() as connection:
        assert create_meter(connection, meter(test, "mtr_4")) is None
        assert find_meter(connection, test, "mtr_4") is None
        deactivate_meter(connection, meter(test, "mtr_1"), 2_000)
        assert create_meter(connection, meter(test, "mtr_4")) is not None


def test_another_broken_constraint_is_not_taken_for_a_name(
    ledger: Ledger, scopes: tuple[int, int]
) -> None:
    put(ledger, meter(scopes[0], "mtr_1"))
    with pytest.raises(IntegrityError), ledger.write() as connection:
        create_meter(connection, meter(scopes[0], "mtr_1", "bytes"))


def test_of_meters_made_at_once_one_gets_the_name(ledger: Ledger, scopes: tuple[int, int]) -> None:
    made = []

    def make(meter_id: str) -> None:
        with ledger.write() as connection:
            made.append(create_meter(connection, meter(scopes[0], meter_id)))

    threads = [threading.Thread(target=make, args=(f"mtr_{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len([one for one in made if one]) == 1


def test_the_life_of_a_meter(ledger: Ledger, scopes: tuple[int, int]) -> None:
    test, _ = scopes
    new = meter(test, "mtr_1", dimension_keys=("model",))
    put(ledger, new)
    with ledger.write() as connection:
        named = rename_meter(connection, new, "Search calls", 2_000)
        assert named == msgspec.structs.replace(new, display_name="Search calls", updated=2_000)
        ended = deactivate_meter(connection, named, 3_000)
        assert ended == msgspec.structs.replace(
            named, active=False, deactivated_at=3_000, updated=3_000
        )
        again = reactivate_meter(connection, ended, 4_000)
        assert again == msgspec.structs.replace(named, updated=4_000)
        assert find_meter(connection, test, "mtr_1") == again


def test_a_meter_is_not_reactivated_while_another_has_its_name(
    ledger: Ledger, scopes: tuple[int, int]
) -> None:
    test, _ = scopes
    old = meter(test, "mtr_1", active=False, deactivated_at=2_000)
    put(ledger, old, meter(test, "mtr_2"))
    with ledger.write() as connection:
        assert reactivate_meter(connection, old, 4_000) is None
        assert find_meter(connection, test, "mtr_1") == old


@pytest.mark.parametrize(
    ("status", "page", "expected"),
    [
        (None, PageParams(), (["mtr_3", "mtr_2", "mtr_1"], False)),
        ("active", PageParams(), (["mtr_3", "mtr_1"], False)),
        ("inactive", PageParams(), (["mtr_2"], False)),
        ("active", PageParams(limit=1), (["mtr_3"], True)),
        ("active", PageParams(limit=1, ending_before="mtr_2"), (["mtr_3"], False)),
        (None, PageParams(starting_after="mtr_3"), (["mtr_2", "mtr_1"], False)),
    ],
)
def test_lists(
    ledger: Ledger,
    scopes: tuple[int, int],
    status: Status | None,
    page: PageParams,
    expected: tuple[list[str], bool],
) -> None:
    test, live = scopes
    put(
        ledger,
        meter(test, "mtr_1"),
        meter(test, "mtr_2", active=False, deactivated_at=2_000),
        meter(test, "mtr_3", "bytes"),
        meter(live, "mtr_4"),
    )
    with ledger.read() as connection:
        found = list_meters(connection, test, page, status=status)
        unknown = list_meters(connection, test, PageParams(starting_after="mtr_4"))
    assert found is not None
    assert ([one.id for one in found[0]], found[1]) == expected
    assert unknown is None


def test_meters_are_found_by_names_and_ids(ledger: Ledger, scopes: tuple[int, int]) -> None:
    test, live = scopes
    active = meter(test, "mtr_1")
    archived = meter(test, "mtr_2", "bytes", active=False, deactivated_at=2_000)
    replaced = meter(test, "mtr_3", active=False, deactivated_at=4_000)
    older = meter(test, "mtr_5", active=False, deactivated_at=3_000)
    elsewhere = meter(live, "mtr_4", "bytes")
    put(ledger, active, archived, replaced, older, elsewhere)
    names = [(test, "calls"), (test, "bytes"), (live, "bytes"), (live, "none")]
    with ledger.read() as connection:
        assert active_by_names(connection, names) == {
            (test, "calls"): active,
            (live, "bytes"): elsewhere,
        }
        assert active_by_names(connection, [(live, "calls"), (test, "bytes")]) == {}
        assert archived_by_names(connection, names) == {
            (test, "bytes"): archived,
            (test, "calls"): replaced,
        }
        assert archived_by_names(connection, [(live, "bytes")]) == {}
        assert by_ids(connection, ["mtr_2", "mtr_4", "mtr_9"]) == {
            "mtr_2": archived,
            "mtr_4": elsewhere,
        }
