from typing import Any

import pytest

from meterhouse.ledger import accounts
from tests.api.samples import error_of
from tests.api.services import NOW, Services, housing
from tests.server import LIVE_KEY, TEST_KEY

LOG = "/meterhouse/v1/audit_log"


def listed(services: Services, key: str = TEST_KEY, **asked: Any) -> list[dict[str, Any]]:
    answer = services.request("GET", LOG, key=key, params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def actions(services: Services, key: str = TEST_KEY, **asked: Any) -> list[str]:
    return [entry["action"] for entry in listed(services, key, **asked)]


def test_an_entry_as_it_is_shown(services: Services) -> None:
    meter = services.meter()
    services.clock.advance(1_500)
    path = f"/v1/billing/meters/{meter}/deactivate"
    request = services.request("POST", path, headers={"X-Forwarded-For": "203.0.113.7"})
    (entry,) = listed(services, object_id=meter, limit=1)
    key = listed(services)[-1]["object_id"]  # which the first start made
    assert entry == {
        "id": entry["id"],
        "object": "meterhouse.audit_entry",
        "account": services.request("GET", "/v1/account").json()["id"],
        "action": "meter.deactivated",
        "actor": {"id": key, "name": f"sk_test_****{TEST_KEY[-4:]}", "type": "api_key"},
        "changes": {"status": {"new": "inactive", "old": "active"}},
        "created": NOW + 1,
        "ip_address": "203.0.113.7",
        "livemode": False,
        "object_id": meter,
        "request": request.headers["request-id"],
    }


def test_a_key_sees_its_own_account_and_mode(services: Services) -> None:
    with services.meterhouse.ledger.write() as connection:
        shop = accounts.create_account(connection, "Shop", NOW * 1000).id
    services.meter()
    theirs = {"Stripe-Account": shop}
    data = {
        "display_name": "Theirs",
        "event_name": "theirs",
        "default_aggregation[formula]": "count",
    }
    services.create("/v1/billing/meters", data=data, headers=theirs)
    assert actions(services) == ["meter.created", "api_key.created"]
    assert actions(services, LIVE_KEY) == ["api_key.created"]
    there = services.request("GET", LOG, headers=theirs).json()["data"]
    assert [(entry["account"], entry["action"]) for entry in there] == [(shop, "meter.created")]
    foreign = services.request(
        "GET", LOG, headers=theirs, params={"starting_after": listed(services)[0]["id"]}
    )
    assert error_of(foreign, 400)["param"] == "starting_after"


def test_the_installation_is_shown_to_its_operator_alone(services: Services) -> None:
    services.request("POST", "/dashboard/sign-in", data={"name": "x", "password": "y"})
    token = services.meterhouse.services.operator_token
    assert "dashboard_session.failed" in actions(services, token, installation="true")
    assert "dashboard_session.failed" not in actions(services, token)
    error_of(services.request("GET", LOG, params={"installation": "true"}), 403)


def test_a_restricted_key_needs_the_permission(services: Services) -> None:
    keys, token = "/meterhouse/v1/api_keys", services.meterhouse.services.operator_token
    made = [
        services.create(keys, key=token, data={f"permissions[{resource}]": "read"})["secret"]
        for resource in ("audit_log", "billing_meters")
    ]
    assert actions(services, made[0])[0] == "api_key.created"
    error_of(services.request("GET", LOG, key=made[1]), 403)


def test_pages_and_filters(services: Services) -> None:
    first, second = services.meter("one"), services.meter("two")
    services.clock.advance(60_000)
    services.create(f"/v1/billing/meters/{first}", data={"display_name": "New"})
    assert actions(services) == [
        "meter.updated",
        "meter.created",
        "meter.created",
        "api_key.created",
    ]
    newest = listed(services)
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
        assert listed(services, **asked) == wanted, asked


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"action": "x" * 251}, "action"),
        ({"created": "soon"}, "created"),
        ({"installation": "maybe"}, "installation"),
        ({"starting_after": "aud_none"}, "starting_after"),
    ],
)
def test_what_cannot_be_asked_for(services: Services, asked: dict[str, str], param: str) -> None:
    assert error_of(services.request("GET", LOG, params=asked), 400)["param"] == param


def test_a_start_with_other_settings_is_an_entry(tmp_path: Any) -> None:
    wanted = {"values": "whole", "deduplication_days": "40", "embed_origins": "*"}
    for settings in ({}, {}, wanted):
        with housing(tmp_path, **settings) as services:
            token = services.meterhouse.services.operator_token
            found = listed(services, token, installation="true", action="settings.changed")
    (entry,) = found
    assert entry["changes"] == {
        "deduplication_days": {"old": "35", "new": "40"},
        "embed_origins": {"old": None, "new": None},
        "values": {"old": "decimal", "new": "whole"},
    }
    assert entry["actor"]["type"] == "system"


def test_a_key_that_leaves_the_setting_is_an_entry(tmp_path: Any) -> None:
    with housing(tmp_path):
        pass
    with housing(tmp_path, api_keys=TEST_KEY) as services:
        token = services.meterhouse.services.operator_token
        live = {"Meterhouse-Livemode": "true"}
        found = services.request("GET", LOG, key=token, headers=live).json()["data"]
    assert [entry["action"] for entry in found] == ["api_key.revoked", "api_key.created"]
