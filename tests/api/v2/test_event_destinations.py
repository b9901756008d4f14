import re
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import stripe

from meterhouse import limits
from meterhouse.ledger import tables
from tests.api.local import LocalServer
from tests.api.v2.samples import HERE, at, done, post, refused
from tests.server import LIVE_KEY, TEST_KEY

PATH = "/v2/core/event_destinations"
URL = "https://example.com/hook"
NEW: dict[str, Any] = {
    "name": "Mine",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["v1.billing.meter.error_report_triggered"],
    "webhook_endpoint": {"url": URL},
}


def make(local: LocalServer, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = done(post(local, PATH, NEW | more))
    return made


def get(local: LocalServer, path: str = PATH, **params: Any) -> httpx.Response:
    return local.request("GET", path, headers=HERE, params=params)


def test_a_new_destination(local: LocalServer) -> None:
    made = make(
        local,
        description="All of it",
        metadata={"a": "b", "c": None},
        events_from=["@self", "other_accounts"],
        include=["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
    )
    assert re.fullmatch(r"ed_test_61[A-Za-z0-9]{30}", made["id"])
    assert re.fullmatch(r"whsec_[A-Za-z0-9]{32}", made["webhook_endpoint"]["signing_secret"])
    assert made["webhook_endpoint"]["url"] == URL
    shown = made | {"webhook_endpoint": {"signing_secret": None, "url": None}}
    assert shown == {
        "id": made["id"],
        "object": "v2.core.event_destination",
        "amazon_eventbridge": None,
        "azure_event_grid": None,
        "created": at(0),
        "description": "All of it",
        "enabled_events": ["v1.billing.meter.error_report_triggered"],
        "event_payload": "thin",
        "events_from": ["@self", "@accounts"],
        "livemode": False,
        "metadata": {"a": "b"},
        "name": "Mine",
        "snapshot_api_version": None,
        "status": "enabled",
        "status_details": None,
        "type": "webhook_endpoint",
        "updated": at(0),
        "webhook_endpoint": {"signing_secret": None, "url": None},
    }
    path = f"{PATH}/{made['id']}"
    assert done(get(local, path)) == shown
    assert done(get(local, path, **{"include[0]": "webhook_endpoint.url"})) == shown | {
        "webhook_endpoint": {"signing_secret": None, "url": URL}
    }
    asked = {"include": "webhook_endpoint.signing_secret"}
    assert "cannot be included" in refused(get(local, path, **asked), 400)["message"]


def test_what_can_be_changed(local: LocalServer) -> None:
    made = make(local, metadata={"a": "b", "c": "d"}, description="old")
    path = f"{PATH}/{made['id']}"
    local.clock.advance(1_000)
    assert done(post(local, path)) == made
    changes = {
        "name": "Ours",
        "description": "",
        "enabled_events": ["v1.billing.*"],
        "metadata": {"a": None, "e": "f"},
        "webhook_endpoint": {"url": f"{URL}/new"},
        "include": ["webhook_endpoint.url"],
    }
    assert done(post(local, path, changes)) == made | {
        "name": "Ours",
        "description": "",
        "enabled_events": ["v1.billing.*"],
        "metadata": {"c": "d", "e": "f"},
        "updated": at(1),
        "webhook_endpoint": {"signing_secret": None, "url": f"{URL}/new"},
    }
    assert "type" in refused(post(local, path, {"type": "webhook_endpoint"}), 400)["message"]
    wrong = {"enabled_events": ["customer.created"]}
    assert "thin payloads" in refused(post(local, path, wrong), 400)["message"]


def test_off_and_on(local: LocalServer) -> None:
    made = make(local)
    path = f"{PATH}/{made['id']}"
    for _ in range(2):
        off = done(post(local, f"{path}/disable"))
        assert off["status"] == "disabled"
        assert off["status_details"] == {"disabled": {"reason": "user"}}
    on = done(post(local, f"{path}/enable"))
    assert (on["status"], on["status_details"]) == ("enabled", None)


def test_one_that_is_off_because_it_failed_starts_anew(local: LocalServer) -> None:
    made = make(local)
    path = f"{PATH}/{made['id']}"

    def fail(connection: sa.Connection) -> None:
        rows = sa.update(tables.destinations)
        connection.execute(rows.values(enabled=False, failing_since=local.clock.now()))

    local.run(local.meterhouse._stores.write(fail))
    failed = done(get(local, path))
    assert (failed["status"], failed["status_details"]) == (
        "disabled",
        {"disabled": {"reason": "deliveries_failed"}},
    )
    assert done(post(local, f"{path}/enable"))["status_details"] is None
    off = done(post(local, f"{path}/disable"))
    assert off["status_details"] == {"disabled": {"reason": "user"}}


def test_the_end_of_a_destination(local: LocalServer) -> None:
    made = make(local)["id"]
    path = f"{PATH}/{made}"
    gone = local.request("DELETE", path, headers=HERE)
    assert done(gone) == {"id": made, "object": "v2.core.event_destination"}
    for action in ("", "/enable", "/disable", "/ping"):
        error = refused(post(local, path + action), 404)
        assert error["code"] == "not_found"
    refused(get(local, path), 404)
    refused(local.request("DELETE", path, headers=HERE), 404)
    assert done(get(local))["data"] == []


def test_pages(local: LocalServer) -> None:
    made = [make(local, name=str(number))["id"] for number in range(5)]
    page = done(get(local, limit=2, include="webhook_endpoint.url"))
    found = list(page["data"])
    while page["next_page_url"]:
        assert page["next_page_url"].startswith(f"{PATH}?")
        page = done(local.request("GET", page["next_page_url"], headers=HERE))
        found += page["data"]
    assert [one["id"] for one in found] == made[::-1]
    assert {one["webhook_endpoint"]["url"] for one in found} == {URL}
    assert page["previous_page_url"]
    refused(get(local, page="nonsense"), 400)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name must not be empty"),
        ({"enabled_events": []}, "enabled_events must not be empty"),
        ({"enabled_events": ["no type"]}, "Invalid event type: no type"),
        ({"enabled_events": ["customer.created"]}, "not sent with thin payloads"),
        ({"event_payload": "fat"}, "event_payload"),
        (
            {"type": "amazon_eventbridge", "webhook_endpoint": None},
            "Event destinations of the type amazon_eventbridge are not supported by this server.",
        ),
        ({"type": "azure_event_grid"}, "of the type azure_event_grid are not supported"),
        ({"type": "pigeon"}, "type has a value that it cannot have"),
        ({"webhook_endpoint": None}, "Missing required field: webhook_endpoint."),
        ({"webhook_endpoint": {}}, "Missing required field: webhook_endpoint.url."),
        ({"webhook_endpoint": {"url": "example.com"}}, "An explicit scheme"),
        ({"events_from": ["@organization_members"]}, "events_from[0] must be @self or @accounts"),
        ({"snapshot_api_version": "2024-06-20"}, "only for snapshot payloads"),
        (
            {
                "event_payload": "snapshot",
                "enabled_events": ["*"],
                "snapshot_api_version": "new",
            },
            "Invalid Stripe API version: new",
        ),
        ({"metadata": {"a" * 41: "b"}}, "metadata"),
        ({"include": ["everything"]}, "This property cannot be included: everything."),
    ],
)
def test_refusals(http: httpx.Client, more: dict[str, Any], message: str) -> None:
    sent = {name: value for name, value in (NEW | more).items() if value is not None}
    assert message in refused(http.post(PATH, json=sent, headers=HERE), 400)["message"]


def test_both_apis_see_the_same(local: LocalServer) -> None:
    """Given one destination of each kind, then v1 sees the snapshot ones and v2 sees all."""
    thin = make(local)["id"]
    snapshot = make(
        local,
        event_payload="snapshot",
        enabled_events=["*"],
        snapshot_api_version="2026-10-28.endive",
    )["id"]
    endpoint = local.create(
        "/v1/webhook_endpoints", data={"url": URL, "enabled_events[]": "*", "connect": "true"}
    )["id"]
    listed = local.request("GET", "/v1/webhook_endpoints").json()["data"]
    assert [one["id"] for one in listed] == [endpoint, snapshot]
    assert listed[1]["api_version"] == "2026-10-28.endive"
    assert local.request("GET", f"/v1/webhook_endpoints/{thin}").status_code == 404
    every = done(get(local))["data"]
    assert [one["id"] for one in every] == [endpoint, snapshot, thin]
    assert (every[0]["name"], every[0]["events_from"]) == ("example.com", ["@accounts"])


def test_there_is_a_most(local: LocalServer) -> None:
    for _ in range(limits.DESTINATIONS_MAX):
        make(local)
    assert "maximum of 16" in refused(post(local, PATH, NEW), 400)["message"]


def test_live_and_test_are_apart(local: LocalServer) -> None:
    made = done(post(local, PATH, NEW, key=LIVE_KEY))
    assert made["livemode"]
    assert re.fullmatch(r"ed_61[A-Za-z0-9]{30}", made["id"])
    refused(get(local, f"{PATH}/{made['id']}"), 404)
    insecure = NEW | {"webhook_endpoint": {"url": "http://example.com"}}
    error = refused(post(local, PATH, insecure, key=LIVE_KEY), 400)
    assert error["code"] == "invalid_fields"
    assert error["message"] == (
        "webhook_endpoint.url: Invalid URL: It must begin with https:// in live mode."
    )
    done(post(local, PATH, insecure, key=TEST_KEY))


def test_the_sdk(client: stripe.StripeClient) -> None:
    destinations = client.v2.core.event_destinations
    made = destinations.create(
        {
            "name": "Mine",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["*"],
            "webhook_endpoint": {"url": URL},
            "include": ["webhook_endpoint.signing_secret"],
        }
    )
    assert made.webhook_endpoint is not None
    assert made.webhook_endpoint.signing_secret
    assert destinations.update(made.id, {"name": "Ours"}).name == "Ours"
    assert destinations.disable(made.id).status == "disabled"
    assert destinations.enable(made.id).status == "enabled"
    found = destinations.list({"limit": 1, "include": ["webhook_endpoint.url"]})
    (one,) = found.auto_paging_iter()
    assert one.webhook_endpoint is not None
    assert one.webhook_endpoint.url == URL
    assert destinations.delete(made.id).id == made.id
