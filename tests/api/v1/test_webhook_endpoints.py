import re
from typing import Any

import httpx
import pytest
import stripe

from meterhouse import limits
from tests.api.local import NOW, LocalServer
from tests.api.samples import error_of
from tests.server import LIVE_KEY

PATH = "/v1/webhook_endpoints"
URL = "https://example.com/hook"


def make(local: LocalServer, **data: Any) -> dict[str, Any]:
    return local.create(PATH, data={"url": URL, "enabled_events[]": "*"} | data)


def test_a_new_endpoint(local: LocalServer) -> None:
    made = make(
        local,
        **{
            "enabled_events[]": ["billing.meter.*", "customer.created"],
            "description": "All of it",
            "metadata[a]": "b",
            "api_version": "2024-06-20",
        },
    )
    secret = made.pop("secret")
    assert re.fullmatch(r"whsec_[A-Za-z0-9]{32}", secret)
    assert re.fullmatch(r"we_1[A-Za-z0-9]{23}", made["id"])
    assert made == {
        "id": made["id"],
        "object": "webhook_endpoint",
        "api_version": "2024-06-20",
        "application": None,
        "created": NOW,
        "description": "All of it",
        "enabled_events": ["billing.meter.*", "customer.created"],
        "livemode": False,
        "metadata": {"a": "b"},
        "status": "enabled",
        "url": URL,
    }
    assert local.request("GET", f"{PATH}/{made['id']}").json() == made


def test_what_can_be_changed(local: LocalServer) -> None:
    made = make(local, **{"metadata[a]": "b", "description": "old"})
    del made["secret"]
    path = f"{PATH}/{made['id']}"
    assert local.create(path) == made
    changes = {
        "url": "http://127.0.0.1/new",
        "enabled_events[]": "customer.*",
        "disabled": "true",
        "description": "",
        "metadata[a]": "",
        "metadata[c]": "d",
    }
    changed = local.create(path, data=changes)
    assert changed == made | {
        "url": "http://127.0.0.1/new",
        "enabled_events": ["customer.*"],
        "status": "disabled",
        "description": None,
        "metadata": {"c": "d"},
    }
    assert local.create(path, data={"disabled": "false"})["status"] == "enabled"
    assert local.request("GET", path).json()["metadata"] == {"c": "d"}


def test_the_end_of_an_endpoint(local: LocalServer) -> None:
    made = make(local)["id"]
    gone = local.request("DELETE", f"{PATH}/{made}").json()
    assert gone == {"id": made, "object": "webhook_endpoint", "deleted": True}
    for method in ("GET", "POST", "DELETE"):
        error = error_of(local.request(method, f"{PATH}/{made}"), 404)
        assert error["message"] == f"No such webhook endpoint: '{made}'"
    assert local.request("GET", PATH).json()["data"] == []


def test_lists(local: LocalServer) -> None:
    first, second, third = (make(local)["id"] for _ in range(3))
    page = local.request("GET", PATH, params={"limit": 2}).json()
    assert (page["url"], page["has_more"]) == (PATH, True)
    assert [one["id"] for one in page["data"]] == [third, second]
    assert not any("secret" in one for one in page["data"])
    rest = local.request("GET", PATH, params={"starting_after": second}).json()
    assert [one["id"] for one in rest["data"]] == [first]
    error = error_of(local.request("GET", PATH, params={"starting_after": "we_none"}), 400)
    assert error["param"] == "starting_after"


@pytest.mark.parametrize(
    ("data", "param", "message"),
    [
        ({"url": None}, "url", "Missing required param: url."),
        ({"enabled_events[]": None}, "enabled_events", "Missing required param"),
        ({"url": "example.com"}, "url", "Invalid URL: An explicit scheme"),
        ({"url": "ftp://example.com"}, "url", "Invalid URL: An explicit scheme"),
        ({"url": "https://"}, "url", "Invalid URL: It names no host."),
        ({"enabled_events[]": "no type"}, "enabled_events[0]", "Invalid event type: no type"),
        (
            {"enabled_events[]": ["*", "v1.billing.meter.no_meter_found"]},
            "enabled_events[1]",
            "are not sent with snapshot payloads",
        ),
        ({"api_version": "1999"}, None, "Invalid Stripe API version: 1999"),
        ({"connect": "perhaps"}, "connect", "Invalid boolean"),
        ({"secret": "mine"}, "secret", "Received unknown parameter: secret"),
        ({"expand[]": "application"}, None, "cannot be expanded"),
    ],
)
def test_refusals(
    http: httpx.Client, data: dict[str, Any], param: str | None, message: str
) -> None:
    sent = {"url": URL, "enabled_events[]": "*"} | data
    sent = {name: value for name, value in sent.items() if value is not None}
    error = error_of(http.post(PATH, data=sent), 400)
    assert message in error["message"]
    assert error.get("param") == param


def test_live_events_go_to_https(local: LocalServer) -> None:
    sent = {"url": "http://example.com", "enabled_events[]": "*"}
    error = error_of(local.request("POST", PATH, data=sent, key=LIVE_KEY), 400)
    assert error["code"] == "url_invalid"
    assert "https" in error["message"]
    made = local.create(PATH, data=sent | {"url": URL}, key=LIVE_KEY)
    assert made["livemode"]
    error_of(local.request("POST", f"{PATH}/{made['id']}", data=sent, key=LIVE_KEY), 400)
    error_of(local.request("GET", f"{PATH}/{made['id']}"), 404)


def test_there_is_a_most(local: LocalServer) -> None:
    made = [make(local)["id"] for _ in range(limits.DESTINATIONS_MAX)]
    error = error_of(local.request("POST", PATH, data={"url": URL, "enabled_events[]": "*"}), 400)
    assert error["message"] == "You have reached the maximum of 16 test webhook endpoints."
    local.request("DELETE", f"{PATH}/{made[0]}")
    make(local)


def test_a_retry_hears_the_secret_again(local: LocalServer) -> None:
    first, again = (
        local.request(
            "POST",
            PATH,
            data={"url": URL, "enabled_events[]": "*"},
            headers={"Idempotency-Key": "once"},
        )
        for _ in range(2)
    )
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json() == again.json()


def test_the_sdk(client: stripe.StripeClient) -> None:
    endpoints = client.v1.webhook_endpoints
    made = endpoints.create({"url": URL, "enabled_events": ["*"], "metadata": {"a": "b"}})
    assert made.secret
    assert made.secret.startswith("whsec_")
    assert endpoints.update(made.id, {"disabled": True}).status == "disabled"
    assert [one.id for one in endpoints.list().auto_paging_iter()] == [made.id]
    assert endpoints.delete(made.id).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such webhook endpoint"):
        endpoints.retrieve(made.id)
