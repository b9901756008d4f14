"""Event summaries by dimensions and tenants, which a private preview has."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.local import DAY, HOUR, NOW, LocalServer, local_server
from tests.api.samples import error_of

MIDNIGHT = NOW // DAY * DAY
EVENTS = (
    # value, hours ago, model, tier, user
    ("1", 24, "a", "x", "ada"),
    ("2", 24, "b", "y", "bob"),
    ("4.5", 1, "a", "y", "ada"),
    ("8", 0, "b", "x", None),
)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Return a server for all the tests of this module."""
    with local_server(tmp_path_factory.mktemp("local")) as opened:
        yield opened


@pytest.fixture(scope="module")
def used(local: LocalServer) -> tuple[str, str]:
    """Return a meter and a customer who has used it."""
    keys = {"dimension_payload_keys[0]": "model", "dimension_payload_keys[1]": "tier"}
    meter, customer = local.meter(**keys), local.customer()
    for value, hours, model, tier, user in EVENTS:
        payload = {"stripe_customer_id": customer, "value": value, "model": model, "tier": tier}
        payload |= {"user": user} if user else {}
        timestamp = {"timestamp": str(NOW - hours * HOUR)}
        named = {f"payload[{key}]": text for key, text in payload.items()}
        data = {"event_name": "calls"} | timestamp | named
        local.create("/v1/billing/meter_events", data=data)
    return meter, customer


def ask(local: LocalServer, used: tuple[str, str], how: dict[str, Any]) -> httpx.Response:
    asked = {"start_time": MIDNIGHT - DAY, "end_time": MIDNIGHT + DAY} | how
    return local.summaries(*used, **asked)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"dimension_group_by_keys[]": "model"}, [({"model": "a"}, 5.5), ({"model": "b"}, 10)]),
        ({"dimension_filters[tier]": "x"}, [(None, 9)]),
        ({"dimension_filters[tier]": "x", "dimension_filters[model]": "a"}, [(None, 1)]),
        ({"dimension_filters[tier]": "none"}, [(None, 0)]),
        (
            {"tenant_keys[0]": "user", "tenant_operator": "includes", "tenant_values[0][0]": "ada"},
            [(None, 5.5)],
        ),
        (
            {"tenant_keys[]": "user", "tenant_operator": "excludes", "tenant_values[0][]": "ada"},
            [(None, 10)],
        ),
        (
            {
                "tenant_keys[0]": "user",
                "tenant_keys[1]": "tier",
                "tenant_operator": "includes",
                "tenant_values[0][0]": "ada",
                "tenant_values[0][1]": "bob",
                "tenant_values[1][0]": "y",
                "value_grouping_window": "day",
                "dimension_group_by_keys[0]": "model",
            },
            [({"model": "a"}, 4.5), ({"model": "b"}, 2)],
        ),
    ],
)
def test_groups_and_filters(
    local: LocalServer, used: tuple[str, str], how: dict[str, Any], expected: list[Any]
) -> None:
    data = ask(local, used, how).json()["data"]
    assert [(row.get("dimensions"), row["aggregated_value"]) for row in data] == expected


def test_a_page_is_cut_between_groups(local: LocalServer, used: tuple[str, str]) -> None:
    how = {"dimension_group_by_keys[]": "model", "value_grouping_window": "day", "limit": 3}
    first = ask(local, used, how).json()
    last = ask(local, used, how | {"starting_after": first["data"][-1]["id"]}).json()
    assert [row["aggregated_value"] for row in first["data"] + last["data"]] == [4.5, 8, 1, 2]
    assert (first["has_more"], last["has_more"]) == (True, False)


def test_groups_of_different_keys_have_different_ids(local: LocalServer) -> None:
    keys = {"dimension_payload_keys[0]": "model", "dimension_payload_keys[1]": "tier"}
    meter, customer = local.meter("other calls", **keys), local.customer()
    sent = {"stripe_customer_id": customer, "value": "1", "model": "same", "tier": "same"}
    data = {"event_name": "other calls"} | {f"payload[{key}]": sent[key] for key in sent}
    local.create("/v1/billing/meter_events", data=data)
    ids = {
        ask(local, (meter, customer), {"dimension_group_by_keys[]": key}).json()["data"][0]["id"]
        for key in ("model", "tier")
    }
    assert len(ids) == 2


def test_an_event_counts_where_its_own_timestamp_is(
    local: LocalServer, used: tuple[str, str]
) -> None:
    how = {"dimension_filters[model]": "b"}
    answer = local.summaries(*used, start_time=NOW, end_time=NOW + 60, **how)
    assert [row["aggregated_value"] for row in answer.json()["data"]] == [8]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"dimension_group_by_keys[]": "user"},
            "its dimensions are model, tier. Other keys of the payload can be used as tenants.",
        ),
        ({"dimension_filters[user]": "ada"}, "'user' is not a dimension of the meter"),
        ({"tenant_keys[]": "user"}, "tenant_keys, tenant_operator and tenant_values must be used"),
        (
            {"tenant_keys[]": "user", "tenant_operator": "includes"},
            "must be used together, with a list of values for each key.",
        ),
        (
            {
                "tenant_keys[0]": "user",
                "tenant_keys[1]": "team",
                "tenant_operator": "includes",
                "tenant_values[0][0]": "ada",
            },
            "must be used together, with a list of values for each key.",
        ),
        (
            {
                "dimension_filters[tier]": "x",
                "value_grouping_window": "hour",
                "start_time": 0,
            },
            "The answer would have more than 50000 rows.",
        ),
    ],
)
def test_what_is_refused(
    local: LocalServer, used: tuple[str, str], how: dict[str, Any], message: str
) -> None:
    assert message in error_of(ask(local, used, how), 400)["message"]
