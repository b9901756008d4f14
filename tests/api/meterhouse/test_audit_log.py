from typing import Any

import pytest

from meterhouse.ledger import accounts
from tests.api.local import NOW, LocalServer, local_server
from tests.api.samples import error_of
from tests.server import LIVE_KEY, TEST_KEY

LOG = "/meterhouse/v1/audit_log"


def listed(local: LocalServer, key: str = TEST_KEY, **asked: Any) -> list[dict[str, Any]]:
    answer = local.request("GET", LOG, key=key, params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def actions(local: LocalServer, key: str = TEST_KEY, **asked: Any) -> list[str]:
    return [entry["action"] for entry in listed(local, key, **asked)]


def test_an_entry_as_it_is_shown(local: LocalServer) -> None:
    meter = local.meter()
    local.clock.advance(1_500)
    path = f"/v1/billing/meters/{meter}/deactivate"
    request = local.request("POST", path, headers={"X-Forwarded-For": "203.0.113.7"})
    (entry,) = listed(local, object_id=meter, limit=1)
    key = listed(local)[-1]["object_id"]  # which the first start made
    assert entry == {
        "id": entry["id"],
        "object": "meterhouse.audit_entry",
        "account": local.request("GET", "/v1/account").json()["id"],
        "action": "meter.deactivated",
        "actor": {"id": key, "name": f"sk_test_****{TEST_KEY[-4:]}", "type": "api_key"},
        "changes": {"status": {"new": "inactive", "old": "active"}},
        "created": NOW + 1,
        "ip_address": "203.0.113.7",
        "livemode": False,
        "object_id": meter,
        "request": request.headers["request-id"],
    }


def test_a_key_sees_its_own_account_and_mode(local: LocalServer) -> None:
    with local.meterhouse.ledger.write() as connection:
        shop = accounts.create_account(connection, "Shop", NOW * 1000).id
    local.meter()
    theirs = {"Stripe-Account": shop}
    data = {
        "display_name": "Theirs",
        "event_name": "theirs",
        "default_aggregation[formula]": "count",
    }
    local.create("/v1/billing/meters", data=data, headers=theirs)
    assert actions(local) == ["meter.created", "api_key.created"]
    assert actions(local, LIVE_KEY) == ["api_key.created"]
    there = local.request("GET", LOG, headers=theirs).json()["data"]
    assert [(entry["account"], entry["action"]) for entry in there] == [(shop, "meter.created")]
    foreign = local.request(
        "GET", LOG, headers=theirs, params={"starting_after": listed(local)[0]["id"]}
    )
    assert error_of(foreign, 400)["param"] == "starting_after"


def test_the_installation_is_shown_to_its_operator_alone(local: LocalServer) -> None:
    local.request("POST", "/dashboard/sign-in", data={"name": "x", "password": "y"})
    token = local.meterhouse.services.operator_token
    assert "dashboard_session.failed" in actions(local, token, installation="true")
    assert "dashboard_session.failed" not in actions(local, token)
    error_of(local.request("GET", LOG, params={"installation": "true"}), 403)


def test_a_restricted_key_needs_the_permission(local: LocalServer) -> None:
    keys, token = "/meterhouse/v1/api_keys", local.meterhouse.services.operator_token
    made = [
        local.create(keys, key=token, data={f"permissions[{resource}]": "read"})["secret"]
        for resource in ("audit_log", "billing_meters")
    ]
    assert actions(local, made[0])[0] == "api_key.created"
    error_of(local.request("GET", LOG, key=made[1]), 403)


def test_pages_and_filters(local: LocalServer) -> None:
    first, second = local.meter("one"), local.meter("two")
    local.clock.advance(60_000)
    local.create(f"/v1/billing/meters/{first}", data={"display_name": "New"})
    assert actions(local) == [
        "meter.updated",
        "meter.created",
        "meter.created",
        "api_key.created",
    ]
    newest = listed(local)
    for asked, wanted in (
        ({"limit": 2}, newest[:2]),
        ({"starting_after": newest[1]["id"]}, newest[2:]),
        ({"ending_before": newest[1]["id"]}, newest[:1]),
        ({"action": "meter.created"}, newest[1:3]),
        ({"action": "meter.*"}, newest[:3]),
        ({"action": "*"}, newest),
        ({"action": "nothing"}, []),
        ({"object_id": second}, newest[1:2]),
        ({"actor": newest[0]["actor"]["id"]}, newest[:3]),
        ({"actor": "Meterhouse"}, newest[3:]),
        ({"created[gte]": NOW + 60}, newest[:1]),
        ({"created[lt]": NOW + 60}, newest[1:]),
    ):
        assert listed(local, **asked) == wanted, asked


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"action": "x" * 251}, "action"),
        ({"created": "soon"}, "created"),
        ({"installation": "maybe"}, "installation"),
        ({"starting_after": "aud_none"}, "starting_after"),
    ],
)
def test_what_cannot_be_asked_for(local: LocalServer, asked: dict[str, str], param: str) -> None:
    assert error_of(local.request("GET", LOG, params=asked), 400)["param"] == param


def test_a_start_with_other_settings_is_an_entry(tmp_path: Any) -> None:
    wanted = {"values": "whole", "deduplication_days": "40", "embed_origins": "*", "standby": "on"}
    for settings in ({}, {}, wanted):
        with local_server(tmp_path, **settings) as local:
            token = local.meterhouse.services.operator_token
            found = listed(local, token, installation="true", action="settings.changed")
    (entry,) = found
    assert entry["changes"] == {
        "deduplication_days": {"old": "35", "new": "40"},
        "embed_origins": {"old": None, "new": None},
        "standby": {"old": "off", "new": "on"},
        "values": {"old": "decimal", "new": "whole"},
    }
    assert entry["actor"]["type"] == "system"


def test_a_key_that_leaves_the_setting_is_an_entry(tmp_path: Any) -> None:
    with local_server(tmp_path):
        pass
    with local_server(tmp_path, api_keys=TEST_KEY) as local:
        token = local.meterhouse.services.operator_token
        live = {"Meterhouse-Livemode": "true"}
        found = local.request("GET", LOG, key=token, headers=live).json()["data"]
    assert [entry["action"] for entry in found] == ["api_key.revoked", "api_key.created"]
