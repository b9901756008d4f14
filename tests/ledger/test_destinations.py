from typing import Any

import msgspec
import pytest

from meterhouse import limits
from meterhouse.ledger.destinations import (
    Secret,
    create_destination,
    find_destination,
    list_destinations,
    subscribed,
    update_destination,
)
from meterhouse.ledger.engine import Ledger
from meterhouse.wire.notification import Payload
from meterhouse.wire.page import PageParams
from tests.ledger.samples import connected, destination, two_scopes

EVERYTHING: dict[str, Any] = {
    "payload": "thin",
    "enabled_events": ["v1.billing.*"],
    "events_from": ["@self", "@accounts"],
    "metadata": {"a": "ä"},
    "enabled": False,
    "secrets": [Secret("whsec_2", None), Secret("whsec_1", 9_000)],
}


@pytest.mark.parametrize("more", [{}, EVERYTHING, {"api_version": "2026-10-28.endive"}])
def test_a_destination_comes_back_as_it_was_stored(ledger: Ledger, more: dict[str, Any]) -> None:
    test, live = two_scopes(ledger)
    stored = destination(test, "we_1", **more)
    with ledger.write() as connection:
        assert create_destination(connection, stored)
        assert find_destination(connection, test, "we_1", lock=True) == stored
        assert find_destination(connection, live, "we_1") is None


def test_a_deleted_destination_is_not_found(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    stored = destination(test, "we_1")
    with ledger.write() as connection:
        create_destination(connection, stored)
        update_destination(connection, msgspec.structs.replace(stored, deleted_at=2_000))
        assert find_destination(connection, test, "we_1") is None
        assert list_destinations(connection, test, PageParams()) == ([], False)
        assert subscribed(connection, test, "customer.created", "snapshot") == []


def test_there_is_a_most(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    with ledger.write() as connection:
        for number in range(limits.DESTINATIONS_MAX):
            assert create_destination(connection, destination(test, f"we_{number}"))
        assert not create_destination(connection, destination(test, "we_more"))
        assert create_destination(connection, destination(live, "we_live"))
        update_destination(connection, destination(test, "we_0", deleted_at=2_000))
        assert create_destination(connection, destination(test, "we_more"))


def test_lists(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    with ledger.write() as connection:
        create_destination(connection, destination(test, "we_1"))
        create_destination(connection, destination(test, "ed_2", payload="thin"))
        create_destination(connection, destination(live, "we_3"))
        every = list_destinations(connection, test, PageParams())
        snapshots = list_destinations(connection, test, PageParams(), payload="snapshot")
        unknown = list_destinations(connection, test, PageParams(starting_after="we_3"))
    assert every is not None
    assert [one.id for one in every[0]] == ["ed_2", "we_1"]
    assert snapshots is not None
    assert [one.id for one in snapshots[0]] == ["we_1"]
    assert unknown is None


@pytest.mark.parametrize(
    ("type_", "payload", "expected"),
    [
        ("customer.created", "snapshot", ["we_all", "we_customers"]),
        ("billing.meter.created", "snapshot", ["we_all"]),
        ("v1.billing.meter.created", "thin", ["ed_thin"]),
        ("v1.customer.created", "thin", []),
    ],
)
def test_who_listens(ledger: Ledger, type_: str, payload: Payload, expected: list[str]) -> None:
    test, live = two_scopes(ledger)
    with ledger.write() as connection:
        for one in (
            destination(test, "we_all"),
            destination(test, "we_customers", enabled_events=["customer.*"]),
            destination(test, "we_off", enabled=False),
            destination(test, "we_accounts", events_from=["@accounts"]),
            destination(test, "ed_thin", payload="thin", enabled_events=["v1.billing.*"]),
            destination(live, "we_live"),
        ):
            create_destination(connection, one)
        assert subscribed(connection, test, type_, payload) == expected


def test_a_platform_listens_to_its_accounts(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    account = connected(ledger)
    with ledger.write() as connection:
        for one in (
            destination(test, "we_self"),
            destination(test, "we_accounts", events_from=["@accounts"]),
            destination(test, "we_both", events_from=["@self", "@accounts"]),
            destination(live, "we_live", events_from=["@accounts"]),
            destination(account, "we_own"),
            destination(account, "we_vain", events_from=["@accounts"]),
        ):
            create_destination(connection, one)
        own = subscribed(connection, test, "customer.created", "snapshot")
        theirs = subscribed(connection, account, "customer.created", "snapshot")
    assert own == ["we_self", "we_both"]
    assert theirs == ["we_accounts", "we_both", "we_own"]


def test_secrets_count_until_they_expire() -> None:
    secrets = [Secret("new", None), Secret("old", 2_000), Secret("older", 1_000)]
    one = destination(1, "we_1", secrets=secrets)
    assert [secret for secret, _ in one.valid_secrets(999)] == ["new", "old", "older"]
    assert [secret for secret, _ in one.valid_secrets(1_000)] == ["new", "old"]
    assert [secret for secret, _ in one.valid_secrets(2_000)] == ["new"]
