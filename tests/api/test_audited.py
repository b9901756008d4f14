"""Each route that changes something writes into the audit log, or is known not to."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from meterhouse.api.routes import ROUTES
from meterhouse.ledger import test_clocks
from meterhouse.ledger.tables import metadata
from tests.api.local import DAY, NOW, LocalServer, local_server

KEYS = "/meterhouse/v1/api_keys"
LOG = "/meterhouse/v1/audit_log"
NOBODY_LISTENS = "http://127.0.0.1:9/"
V2 = {"Stripe-Version": "2026-07-29.preview"}

# What changes nothing that anybody has to answer for: events and who sends them, what customers
# are, a session of a listener, what only asks.
UNAUDITED = {
    "POST /v1/billing/meter_events",
    "POST /v1/customers",
    "POST /v1/customers/{id}",
    "POST /v1/invoices/create_preview",
    "POST /v1/stripecli/sessions",
    "POST /v1/subscription_items/{id}/usage_records",
    "POST /v2/billing/meter_event_session",
    "POST /v2/billing/meter_event_stream",
    "POST /v2/billing/meter_events",
    "POST /v2/core/event_destinations/{id}/ping",
    "POST /meterhouse/v1/embed_tokens",
    "POST /meterhouse/v1/verification",
    "POST /meterhouse/v1/what_if",
    "DELETE /meterhouse/v1/backup",
}


class Step(NamedTuple):
    """A request, and what it is called in the log; `ids` fills the path from what is there."""

    route: str
    action: str
    of: str = ""
    asked: Mapping[str, Any] = MappingProxyType({})


ENDPOINT = {"url": NOBODY_LISTENS, "enabled_events[]": "*"}
DESTINATION = {
    "name": "ours",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["*"],
    "webhook_endpoint": {"url": NOBODY_LISTENS},
}
METER = {
    "display_name": "Others",
    "event_name": "others",
    "default_aggregation[formula]": "count",
}
GAUGE = "usage_threshold[meter]"
ALERT = {
    "alert_type": "usage_threshold",
    "title": "100 calls",
    "usage_threshold[gte]": "100",
    GAUGE: "{meter}",
    "usage_threshold[recurrence]": "one_time",
}
GRANT = {
    "amount[type]": "monetary",
    "amount[monetary][currency]": "usd",
    "amount[monetary][value]": "100",
    "applicability_config[scope][price_type]": "metered",
    "customer": "{payer}",
}
OUR_ALERT = {"meter": "{meter}", "steps[]": "0.5", "title": "Much"}
PRICE = {"currency": "usd", "product": "priced", "unit_amount": "4"}
CLOCK = {"frozen_time": "1000"}
ITEM = {"customer": "{payer}", "amount": "500", "currency": "usd"}
LINE = {"lines[0][amount]": "5"}
NEW_LINE = {"lines[0][id]": "{line}", "lines[0][amount]": "6"}
NO_LINE = {"lines[0][id]": "{line}", "lines[0][behavior]": "delete"}
SENT = {"collection_method": "send_invoice", "days_until_due": "3"}
OUT_OF_BAND = {"paid_out_of_band": "true"}
CANCEL = {"event_name": "calls", "type": "cancel"}

STEPS = [
    Step("POST /v1/billing/meters", "meter.created", asked={"data": METER}),
    Step(
        "POST /v1/billing/meters/{id}",
        "meter.updated",
        "meter",
        {"data": {"display_name": "New"}},
    ),
    Step("POST /v1/billing/meters/{id}/deactivate", "meter.deactivated", "meter"),
    Step("POST /v1/billing/meters/{id}/reactivate", "meter.reactivated", "meter"),
    Step(
        "POST /meterhouse/v1/meters/{id}/dimensions",
        "meter.dimensions_changed",
        "meter",
        {"data": {"dimension_payload_keys[]": "model"}},
    ),
    Step(
        "POST /v1/billing/meter_event_adjustments",
        "meter_event_adjustment.created",
        asked={"data": CANCEL | {"cancel[identifier]": "first"}},
    ),
    Step(
        "POST /v2/billing/meter_event_adjustments",
        "meter_event_adjustment.created",
        asked={"json": CANCEL | {"cancel": {"identifier": "second"}}},
    ),
    Step("POST /v1/billing/credit_grants", "credit_grant.created", asked={"data": GRANT}),
    Step(
        "POST /v1/billing/credit_grants/{id}",
        "credit_grant.updated",
        "grant",
        {"data": {"metadata[a]": "b"}},
    ),
    Step("POST /v1/billing/credit_grants/{id}/expire", "credit_grant.expired", "grant"),
    Step("POST /v1/billing/credit_grants/{id}/void", "credit_grant.voided", "unused"),
    Step("POST /v1/billing/alerts", "alert.created", asked={"data": ALERT}),
    Step("POST /meterhouse/v1/alerts", "alert.created", asked={"data": OUR_ALERT}),
    Step("POST /v1/billing/alerts/{id}/deactivate", "alert.deactivated", "alert"),
    Step("POST /v1/billing/alerts/{id}/activate", "alert.activated", "alert"),
    Step("POST /v1/billing/alerts/{id}/archive", "alert.archived", "alert"),
    Step("DELETE /v1/customers/{id}", "customer.deleted", "customer"),
    Step("POST /v1/products", "product.created", asked={"data": {"name": "Tokens"}}),
    Step("POST /v1/products/{id}", "product.updated", "product", {"data": {"name": "New"}}),
    Step("DELETE /v1/products/{id}", "product.deleted", "product"),
    Step("POST /v1/prices", "price.created", asked={"data": PRICE}),
    Step("POST /v1/prices/{id}", "price.updated", "price", {"data": {"nickname": "New"}}),
    Step("POST /v1/subscriptions", "subscription.created"),
    Step(
        "POST /v1/subscriptions/{id}",
        "subscription.updated",
        "subscription",
        {"data": {"description": "New"}},
    ),
    Step(
        "POST /v1/subscriptions/{id}/migrate",
        "subscription.migrated",
        "subscription",
        {"data": {"billing_mode[type]": "flexible"}},
    ),
    Step("POST /v1/subscriptions/{id}/pause", "subscription.paused", "subscription"),
    Step("POST /v1/subscriptions/{id}/resume", "subscription.resumed", "subscription"),
    Step("POST /v1/subscription_items", "subscription_item.created"),
    Step(
        "POST /v1/subscription_items/{id}",
        "subscription_item.updated",
        "item",
        {"data": {"metadata[a]": "b"}},
    ),
    Step("DELETE /v1/subscription_items/{id}", "subscription_item.deleted", "item"),
    Step("DELETE /v1/subscriptions/{id}", "subscription.canceled", "subscription"),
    Step("POST /v1/test_helpers/test_clocks", "test_clock.created", asked={"data": CLOCK}),
    Step(
        "POST /v1/test_helpers/test_clocks/{id}/advance",
        "test_clock.advanced",
        "moving",
        {"data": {"frozen_time": "2000"}},
    ),
    Step("DELETE /v1/test_helpers/test_clocks/{id}", "test_clock.deleted", "clock"),
    Step("POST /v1/invoices", "invoice.created", asked={"data": {"customer": "{payer}"}}),
    Step("POST /v1/invoices/{id}", "invoice.updated", "invoice", {"data": {"footer": "New"}}),
    Step("POST /v1/invoices/{id}/add_lines", "invoice.updated", "invoice", {"data": LINE}),
    Step("POST /v1/invoices/{id}/update_lines", "invoice.updated", "invoice", {"data": NEW_LINE}),
    Step(
        "POST /v1/invoices/{id}/lines/{line}",
        "invoice.updated",
        "invoice",
        {"data": {"metadata[a]": "c"}},
    ),
    Step("POST /v1/invoices/{id}/remove_lines", "invoice.updated", "invoice", {"data": NO_LINE}),
    Step("POST /v1/invoiceitems", "invoice_item.created", asked={"data": ITEM}),
    Step(
        "POST /v1/invoiceitems/{id}", "invoice_item.updated", "waiting", {"data": {"amount": "7"}}
    ),
    Step("DELETE /v1/invoiceitems/{id}", "invoice_item.deleted", "waiting"),
    Step("POST /v1/invoices/{id}/finalize", "invoice.finalized", "invoice"),
    Step("POST /v1/invoices/{id}/send", "invoice.sent", "invoice"),
    Step("POST /v1/invoices/{id}/mark_uncollectible", "invoice.marked_uncollectible", "invoice"),
    Step("POST /v1/invoices/{id}/void", "invoice.voided", "invoice"),
    Step("POST /v1/invoices/{id}/pay", "invoice.paid", "owed", {"data": OUT_OF_BAND}),
    Step("DELETE /v1/invoices/{id}", "invoice.deleted", "draft"),
    Step("POST /v1/webhook_endpoints", "event_destination.created", asked={"data": ENDPOINT}),
    Step(
        "POST /v1/webhook_endpoints/{id}",
        "event_destination.disabled",
        "endpoint",
        {"data": {"disabled": "true"}},
    ),
    Step(
        "POST /v2/core/event_destinations", "event_destination.created", asked={"json": DESTINATION}
    ),
    Step(
        "POST /v2/core/event_destinations/{id}",
        "event_destination.updated",
        "endpoint",
        {"json": {"description": "Ours."}},
    ),
    Step(
        "POST /v2/core/event_destinations/{id}/enable",
        "event_destination.enabled",
        "endpoint",
        {"json": {}},
    ),
    Step(
        "POST /meterhouse/v1/destinations/{id}/roll_secret",
        "event_destination.secret_rolled",
        "endpoint",
    ),
    Step("POST /meterhouse/v1/deliveries/{id}/redeliver", "delivery.redelivered", "delivery"),
    Step("POST /v1/events/{id}/retry", "delivery.redelivered", "event"),
    Step(
        "POST /v2/core/event_destinations/{id}/disable",
        "event_destination.disabled",
        "endpoint",
        {"json": {}},
    ),
    Step("DELETE /v1/webhook_endpoints/{id}", "event_destination.deleted", "endpoint"),
    Step("DELETE /v2/core/event_destinations/{id}", "event_destination.deleted", "destination"),
    Step(
        "POST /meterhouse/v1/invalid_meter_events/resend",
        "resend.created",
        asked={"json": {"filter": {}}},
    ),
    Step("POST /meterhouse/v1/api_keys", "api_key.created"),
    Step("POST /meterhouse/v1/api_keys/{id}/revoke", "api_key.revoked", "key"),
    Step("POST /meterhouse/v1/backup", "backup.created"),
    Step(
        "POST /meterhouse/v1/customers/{id}/erase",
        "customer.erased",
        "customer",
        {"json": {"payload_keys": ["model"]}},
    ),
]


def test_every_route_that_writes_is_known() -> None:
    written = [f"{one.method} {one.path}" for one in ROUTES if one.method != "GET"]
    assert sorted(written) == sorted({*UNAUDITED, *(step.route for step in STEPS)})


class World:
    """A server with one of each, to change it."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        self.token = local.meterhouse.services.operator_token
        meter, customer = local.meter(), local.customer()
        for identifier in ("first", "second"):
            event = {
                "event_name": "calls",
                "identifier": identifier,
                "payload[value]": "1",
                "payload[stripe_customer_id]": customer,
            }
            local.create("/v1/billing/meter_events", data=event)
        endpoint = local.create("/v1/webhook_endpoints", data=ENDPOINT)["id"]
        local.create("/v1/customers", data={"name": "Told"})  # which the endpoint is owed
        delivery = local.request("GET", "/meterhouse/v1/deliveries").json()["data"][0]
        destination = local.create("/v2/core/event_destinations", json=DESTINATION, headers=V2)
        key = local.create(KEYS, key=self.token)
        local.create("/v1/products", data={"id": "priced", "name": "Priced"})
        self.ids = {
            "meter": meter,
            "alert": local.create("/v1/billing/alerts", data=ALERT | {GAUGE: meter})["id"],
            "customer": customer,
            "endpoint": endpoint,
            "delivery": delivery["id"],
            "event": delivery["event"],
            "destination": destination["id"],
            "key": key["id"],
            "product": local.create("/v1/products", data={"name": "Other"})["id"],
            "price": local.create("/v1/prices", data=PRICE)["id"],
            **self._subscribed(meter),
            **self._invoices(),
            **self._grants(),
            "clock": local.create("/v1/test_helpers/test_clocks", data=CLOCK)["id"],
            "moving": local.create("/v1/test_helpers/test_clocks", data=CLOCK)["id"],
        }

    def _subscribed(self, meter: str) -> dict[str, str]:
        """Subscribe somebody, and return what of."""
        billed = {"recurring[interval]": "month", "recurring[usage_type]": "metered"}
        first, second = (
            self.local.create("/v1/prices", data=PRICE | billed | {"recurring[meter]": meter})["id"]
            for _ in range(2)
        )
        customer = self.local.create("/v1/customers")["id"]
        data = {"customer": customer, "items[0][price]": first}
        self.subscribing = {
            "POST /v1/subscriptions": data,
            "POST /v1/subscription_items": {"price": second},
        }
        classic = {"billing_mode[type]": "classic"}
        made = self.local.create("/v1/subscriptions", data=data | classic)
        self.subscribing["POST /v1/subscription_items"]["subscription"] = made["id"]
        return {"subscription": made["id"], "item": made["items"]["data"][0]["id"]}

    def _invoices(self) -> dict[str, str]:
        """Return a draft with a line, one without, an item that waits, and what somebody owes."""
        local, payer = self.local, self.local.customer()
        ids = {"payer": payer}
        for name in ("invoice", "owed", "draft"):
            invoice = local.create("/v1/invoices", data={"customer": payer, **SENT})["id"]
            item = ITEM | {"customer": payer, "invoice": invoice}
            local.create("/v1/invoiceitems", data=item)
            ids[name] = invoice
        local.create(f"/v1/invoices/{ids['owed']}/finalize")
        lines = local.request("GET", f"/v1/invoices/{ids['invoice']}/lines").json()["data"]
        waiting = local.create("/v1/invoiceitems", data=ITEM | {"customer": payer})["id"]
        return ids | {"line": lines[0]["id"], "waiting": waiting}

    def _grants(self) -> dict[str, str]:
        """Return a grant that is to expire, and one that is to be taken back."""
        data = GRANT | {"customer": self.local.customer()}
        path = "/v1/billing/credit_grants"
        return {name: self.local.create(path, data=data)["id"] for name in ("grant", "unused")}

    def take(self, step: Step) -> int:
        """Send a request and return the status of its answer."""
        method, _, path = step.route.partition(" ")
        asked = dict(step.asked)
        if step.of == "event":
            asked = {"data": {"webhook_endpoint": self.ids["endpoint"]}}
        if step.route in self.subscribing:
            asked = {"data": self.subscribing[step.route]}
        elif step.of in ("", "invoice") and "data" in asked:
            asked = {"data": {name: self._filled(one) for name, one in asked["data"].items()}}
        headers = V2 if path.startswith("/v2/") else {}
        path = self._filled(path.replace("{id}", self.ids.get(step.of, "")))
        answer = self.local.request(method, path, key=self.token, headers=headers, **asked)
        return answer.status_code

    def _filled(self, text: str) -> str:
        """Return a text with ids in the places that name them."""
        return re.sub(r"\{(\w+)\}", lambda found: self.ids[found[1]], text)

    def entries(self) -> list[dict[str, Any]]:
        """Return all entries, newest first."""
        asked = {"limit": 100, "installation": "true"}
        answer = self.local.request("GET", LOG, key=self.token, params=asked)
        entries: list[dict[str, Any]] = answer.json()["data"]
        return entries

    def ledger(self) -> dict[str, list[Any]]:
        """Return what requests put into the ledger, once all has been done that they asked for."""
        self.local.run(self.local.meterhouse.services.progress.settle(20))
        self.local.until(lambda connection: not test_clocks.advancing(connection))
        with self.local.meterhouse.ledger.read() as connection:
            return {
                table.name: [*connection.execute(sa.select(*_columns(table)))]
                for table in metadata.sorted_tables
                if table.name in CHANGED
            }


CHANGED = {
    "accounts",
    "adjustments",
    "alerts",
    "api_keys",
    "audit_log",
    "credit_grants",
    "credit_transactions",
    "customers",
    "destinations",
    "dimension_changes",
    "erasures",
    "idempotency_records",
    "invoice_items",
    "invoice_lines",
    "invoices",
    "meters",
    "notifications",
    "prices",
    "products",
    "resends",
    "subscription_items",
    "subscriptions",
    "test_clocks",
}


def _columns(table: sa.Table) -> list[sa.Column[Any]]:
    """Return those that tell what was asked for, and not how far it is."""
    if table.name == "erasures":
        return [table.c.id]
    return [column for column in table.c if column.name != "failing_since"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with local_server(tmp_path) as local:
        yield World(local)


@contextmanager
def refusing(world: World, table: str) -> Iterator[None]:
    """Let nothing be put into a table of the ledger."""
    ledger = world.local.meterhouse.ledger
    with ledger.write() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER refusing BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    try:
        yield
    finally:
        with ledger.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER refusing")


def test_there_is_neither_a_change_without_its_entry_nor_an_entry_without_its_change(
    world: World,
) -> None:
    for step in STEPS:
        before, known = world.ledger(), len(world.entries())
        with refusing(world, "audit_log"):
            assert world.take(step) == 500, step.route
        assert world.ledger() == before, step.route
        assert world.take(step) == 200, step.route
        new = world.entries()[: len(world.entries()) - known]
        assert [entry["action"] for entry in new] == [step.action], step.route
        assert new[0]["actor"] == {"id": None, "name": "operator", "type": "operator"}
        assert new[0]["request"].startswith("req_")
        if step.of:
            assert new[0]["object_id"] == world.ids[step.of]


def test_what_fails_after_its_entry_has_none(world: World) -> None:
    known = world.entries()
    renamed = next(step for step in STEPS if step.action == "meter.updated")
    with refusing(world, "notifications"):
        assert world.take(renamed) == 500
    assert world.entries() == known


def test_what_is_refused_or_replayed_or_changes_nothing_has_no_entry(world: World) -> None:
    local, meter = world.local, world.ids["meter"]
    known = len(world.entries())
    path = f"/v1/billing/meters/{meter}"
    once = {"Idempotency-Key": "once"}
    for _ in range(2):
        local.create(f"{path}/deactivate", headers=once)
    local.create(f"{path}/deactivate")  # it is so already
    assert local.request("POST", path, data={"display_name": "x" * 300}).status_code == 400
    assert local.request("POST", f"{path}x", data={"display_name": "New"}).status_code == 404
    key = world.ids["key"]
    for _ in range(2):
        local.create(f"{KEYS}/{key}/revoke", key=world.token)
    resend = {"filter": {}, "dry_run": True}
    local.create("/meterhouse/v1/invalid_meter_events/resend", json=resend)
    actions = [entry["action"] for entry in world.entries()[: len(world.entries()) - known]]
    assert actions == ["api_key.revoked", "meter.deactivated"]


def test_no_entry_tells_a_secret_or_what_a_customer_told(world: World) -> None:
    local = world.local
    secret = local.create(KEYS, key=world.token, data={"name": "billing"})["secret"]
    url = {"url": "http://127.0.0.1:9/hook?token=unguessable"}
    local.create(f"/v1/webhook_endpoints/{world.ids['endpoint']}", data=url)
    told = local.create(
        "/v1/customers", data={"name": "Grace Hopper", "email": "grace@example.com"}
    )
    local.request("DELETE", f"/v1/customers/{told['id']}", key=secret)
    text = local.request("GET", LOG, key=world.token, params={"limit": 100}).text
    for hidden in (secret, "unguessable", "Grace", "grace@"):
        assert hidden not in text
    assert f"sk_test_****{secret[-4:]}" in text


def test_a_download_of_usage_is_an_entry_and_a_look_at_it_is_none(world: World) -> None:
    asked = {"starts_at": NOW - DAY, "ends_at": NOW, "meters[0][meter]": world.ids["meter"]}
    known = len(world.entries())
    for accept in ("application/json", "text/csv", "application/vnd.apache.parquet"):
        headers = {"Accept": accept}
        for method in ("GET", "HEAD"):
            answer = world.local.request(
                method, "/meterhouse/v1/usage", params=asked, headers=headers
            )
            assert answer.status_code == 200, answer.text
    new = world.entries()[: len(world.entries()) - known]
    assert [entry["action"] for entry in new] == ["usage.exported"] * 2
    assert {entry["actor"]["type"] for entry in new} == {"api_key"}
    with refusing(world, "audit_log"):
        answer = world.local.request(
            "GET", "/meterhouse/v1/usage", params=asked, headers={"Accept": "text/csv"}
        )
    assert answer.status_code == 500
