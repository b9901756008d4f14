"""Secrets that come where none belongs: in a path, a query or a parameter of a request."""

from meterhouse.ledger import users
from tests.api.services import Services

V2 = {"Stripe-Version": "2026-10-28.endive"}


def made(services: Services) -> list[str]:
    """Have the server make one secret of every kind."""
    meter, customer = services.meter(), services.customer()
    bound = {"customer": customer, "meters[0]": meter}
    hook = {"url": "https://example.com/hook", "enabled_events[]": "*"}
    cli = {"device_name": "laptop", "websocket_features[]": "webhooks"}
    operator = services.meterhouse.services.operator_token
    listening = services.create("/v1/stripecli/sessions", data=cli)
    link = services.meterhouse.dashboard.open_path()
    entered = services.request("GET", link)
    stores, hashed = services.meterhouse.services.stores, users.hash_password("correct horse")
    services.run(stores.write(users.create_user, "ada", hashed, "viewer", 0))
    signed_in = services.request(
        "POST",
        "/dashboard/sign-in",
        data={"name": "ada", "password": "correct horse"},
        headers={"Origin": "http://localhost"},
    )
    return [
        operator,
        services.create("/meterhouse/v1/api_keys", key=operator)["secret"],
        services.create("/meterhouse/v1/embed_tokens", data=bound)["token"],
        services.create("/v1/webhook_endpoints", data=hook)["secret"],
        services.create("/v2/billing/meter_event_session", headers=V2)["authentication_token"],
        listening["websocket_id"],
        listening["secret"],
        link.partition("token=")[2],
        *entered.cookies.values(),
        *signed_in.cookies.values(),
    ]


def test_no_secret_is_kept_in_the_log_of_requests(services: Services) -> None:
    secrets = made(services)
    assert len(secrets) == 11
    for secret in secrets:
        services.request("GET", f"/v1/customers/{secret}")
        services.request("GET", "/v1/billing/meters", params={"starting_after": secret})
        services.request("POST", "/v1/customers", data={secret: "x"})
        services.request("GET", f"/v2/core/event_destinations/{secret}", headers=V2)
    kept = services.request("GET", "/meterhouse/v1/request_logs", params={"limit": 100}).text
    for secret in secrets:
        prefix = secret[: secret.rindex("_", 0, 10) + 1]
        assert f"/v1/customers/{prefix}****" in kept
        assert secret not in kept
        assert secret.removeprefix(prefix)[:12] not in kept
