"""What a restricted key hears, or has expanded, it must be permitted to read."""

from typing import Any

import pytest

from tests.api.local import LocalServer
from tests.api.samples import error_of
from tests.api.v2.samples import HERE, done
from tests.server import TEST_KEY

SESSIONS = "/v1/stripecli/sessions"
ENDPOINTS = "/v1/webhook_endpoints"
DESTINATIONS = "/v2/core/event_destinations"
ENDPOINT = {"url": "https://example.com/", "enabled_events[]": "*"}
DESTINATION = {
    "name": "there",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["*"],
    "webhook_endpoint": {"url": "https://example.com/"},
}


def restricted(local: LocalServer, *permissions: str) -> str:
    pairs = [one.split(":") for one in permissions]
    data = {f"permissions[{resource}]": access for resource, access in pairs}
    operator = local.meterhouse.services.operator_token
    secret: str = local.create("/meterhouse/v1/api_keys", key=operator, data=data)["secret"]
    return secret


def listen(*features: str) -> dict[str, Any]:
    return {"data": {"device_name": "laptop", "websocket_features[]": list(features)}}


LISTENING = "stripecli_sessions:write"
NAMING = "event_destinations:write"


@pytest.mark.parametrize(
    ("permissions", "path", "details", "missing"),
    [
        ((LISTENING,), SESSIONS, listen("webhooks"), "events:read"),
        ((LISTENING,), SESSIONS, listen("v2_events"), "events:read"),
        ((LISTENING,), SESSIONS, listen("request_logs"), "request_logs:read"),
        (
            (LISTENING, "events:read"),
            SESSIONS,
            listen("webhooks", "request_logs"),
            "request_logs:read",
        ),
        (
            (LISTENING, "request_logs:read"),
            SESSIONS,
            listen("request_logs", "v2_events"),
            "events:read",
        ),
        (
            (LISTENING, "events:read", "request_logs:read"),
            SESSIONS,
            listen("webhooks", "v2_events", "request_logs"),
            None,
        ),
        ((LISTENING, "request_logs:read"), SESSIONS, listen("request_logs"), None),
        ((NAMING,), ENDPOINTS, {"data": ENDPOINT}, "events:read"),
        ((NAMING, "events:write"), ENDPOINTS, {"data": ENDPOINT}, None),
        ((NAMING,), f"{ENDPOINTS}/{{v1}}", {"data": {"url": "https://a.io"}}, "events:read"),
        ((NAMING, "events:read"), f"{ENDPOINTS}/{{v1}}", {"data": {"url": "https://a.io"}}, None),
        ((NAMING,), DESTINATIONS, {"json": DESTINATION}, "events:read"),
        ((NAMING, "events:read"), DESTINATIONS, {"json": DESTINATION}, None),
        ((NAMING,), f"{DESTINATIONS}/{{v2}}", {"json": {"name": "a"}}, "events:read"),
        ((NAMING, "events:read"), f"{DESTINATIONS}/{{v2}}", {"json": {"name": "a"}}, None),
        ((NAMING,), f"{DESTINATIONS}/{{v2}}/enable", {"json": {}}, "events:read"),
        ((NAMING, "events:read"), f"{DESTINATIONS}/{{v2}}/enable", {"json": {}}, None),
        ((NAMING,), f"{DESTINATIONS}/{{v2}}/disable", {"json": {}}, None),
        ((NAMING,), f"{DESTINATIONS}/{{v2}}/ping", {"json": {}}, None),
    ],
)
def test_what_is_heard_must_be_permitted(
    local: LocalServer,
    permissions: tuple[str, ...],
    path: str,
    details: dict[str, Any],
    missing: str | None,
) -> None:
    v1 = local.create(ENDPOINTS, data=ENDPOINT)["id"]
    v2 = done(local.request("POST", DESTINATIONS, json=DESTINATION, headers=HERE, key=TEST_KEY))[
        "id"
    ]
    key = restricted(local, *permissions)
    headers = HERE if "json" in details else {}
    answer = local.request("POST", path.format(v1=v1, v2=v2), key=key, headers=headers, **details)
    if missing is None:
        done(answer)
    else:
        message = error_of(answer, 403)["message"]
        assert f"Having the '{missing}' permission would allow this request" in message


@pytest.mark.parametrize(
    ("permission", "path", "expand", "missing"),
    [
        ("customers:read", "/v1/customers", "data.subscriptions", "subscriptions:read"),
        ("invoices:read", "/v1/invoices", "data.customer", "customers:read"),
        ("invoices:read", "/v1/invoices", "data.subscription.default_source", "subscriptions:read"),
        ("invoices:read", "/v1/invoices", "data.test_clock", "test_clocks:read"),
        ("invoices:read", "/v1/invoices", "data.discounts", None),
        ("invoices:read", "/v1/invoices/create_preview", "customer", "customers:read"),
        ("prices:read", "/v1/prices", "data.product", "products:read"),
        ("prices:read", "/v1/prices", "data.tiers", None),
        ("products:read", "/v1/products", "data.default_price", "prices:read"),
        ("subscriptions:read", "/v1/subscriptions", "data.latest_invoice", "invoices:read"),
    ],
)
def test_what_is_expanded_must_be_permitted(
    local: LocalServer, permission: str, path: str, expand: str, missing: str | None
) -> None:
    key = restricted(local, permission)
    if path.endswith("preview"):
        answer = local.request("POST", path, key=key, data={"expand[]": expand})
    else:
        answer = local.request("GET", f"{path}?expand[]={expand}", key=key)
    if missing is None:
        done(answer)
    else:
        message = error_of(answer, 403)["message"]
        assert f"Having the '{missing}' permission would allow this request" in message
