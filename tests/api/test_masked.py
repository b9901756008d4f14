"""Secrets that come where none belongs: in a path, a query or a parameter of a request."""

from meterhouse.ledger import users
from meterhouse.masking import masked
from tests.api.local import LocalServer

V2 = {"Stripe-Version": "2026-10-28.endive"}


def made(local: LocalServer) -> list[str]:
    """Have the server make one secret of every kind."""
    meter, customer = local.meter(), local.customer()
    bound = {"customer": customer, "meters[0]": meter}
    hook = {"url": "https://example.com/hook", "enabled_events[]": "*"}
    cli = {"device_name": "laptop", "websocket_features[]": "webhooks"}
    operator = local.meterhouse.services.operator_token
    listening = local.create("/v1/stripecli/sessions", data=cli)
    link = local.meterhouse.dashboard.open_path()
    entered = local.request("GET", link)
    stores, hashed = local.meterhouse.services.stores, users.hash_password("correct horse")
    local.run(stores.write(users.create_user, "ada", hashed, "viewer", 0))
    signed_in = local.request(
        "POST",
        "/dashboard/sign-in",
        data={"name": "ada", "password": "correct horse"},
        headers={"Origin": "http://localhost"},
    )
    return [
        operator,
        local.create("/meterhouse/v1/api_keys", key=operator)["secret"],
        local.create("/meterhouse/v1/embed_tokens", data=bound)["token"],
        local.create("/v1/webhook_endpoints", data=hook)["secret"],
        local.create("/v2/billing/meter_event_session", headers=V2)["authentication_token"],
        listening["websocket_id"],
        listening["secret"],
        link.partition("token=")[2],
        *entered.cookies.values(),
        *signed_in.cookies.values(),
    ]


def test_no_secret_is_kept_in_the_log_of_requests(local: LocalServer) -> None:
    secrets = made(local)
    assert len(secrets) == 11
    for secret in secrets:
        local.request("GET", f"/v1/customers/{secret}")
        local.request("GET", "/v1/billing/meters", params={"starting_after": secret})
        local.request("POST", "/v1/customers", data={secret: "x"})
        local.request("GET", f"/v2/core/event_destinations/{secret}", headers=V2)
    kept = local.request("GET", "/meterhouse/v1/request_logs", params={"limit": 100}).text
    for secret in secrets:
        prefix = masked(secret).removesuffix("****")
        assert f"/v1/customers/{prefix}****" in kept
        assert secret not in kept
        assert secret.removeprefix(prefix)[:12] not in kept
