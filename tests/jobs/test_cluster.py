"""Jobs of real processes: two that answer and two that work, on one pair of stores."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from typer.testing import CliRunner
from websockets.sync.client import ClientConnection, connect

from meterhouse.cli.main import app
from meterhouse.wire.stripecli import SUBPROTOCOL
from meterhouse.wire.version import DEFAULT_VERSION
from tests.clickhouse import Double
from tests.postgresql import PostgreSQL
from tests.receiver import Receiver, receiving
from tests.server import TEST_KEY, Server, serving_roles
from tests.stores import new_stores

SECONDS_MAX = 60
ROLES = ("api", "api", "worker", "worker")
VERSION = {"Stripe-Version": DEFAULT_VERSION.text}


class Node:
    """A process that answers, and what a sender asks of it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = httpx.Client(
            base_url=server.url, auth=(TEST_KEY, ""), headers=VERSION, timeout=30
        )

    def post(self, path: str, **details: Any) -> dict[str, Any]:
        return self._read(self.client.post(path, **details))

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        return self._read(self.client.get(path, params=params))

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def event(self, identifier: str, customer: str, name: str = "calls", **payload: str) -> None:
        """Send an event of a stream, which is judged later."""
        session = self.post("/v2/billing/meter_event_session")
        body = {
            "event_name": name,
            "identifier": identifier,
            "payload": {"stripe_customer_id": customer, "value": "2", **payload},
        }
        self._read(
            httpx.post(
                f"{self.server.url}/v2/billing/meter_event_stream",
                json={"events": [body]},
                headers={**VERSION, "Authorization": f"Bearer {session['authentication_token']}"},
            )
        )

    def listen(self, **data: Any) -> dict[str, Any]:
        asked = {"device_name": "laptop", **data}
        return self.post("/v1/stripecli/sessions", data=asked)

    def socket(self, session: dict[str, Any]) -> ClientConnection:
        """Connect the CLI of a session to this node, wherever it was made."""
        path = urlsplit(session["websocket_url"]).path
        return connect(
            self.server.url.replace("http", "ws") + path,
            additional_headers={"Websocket-Id": session["websocket_id"]},
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
        )


class Cluster:
    def __init__(self, every: list[Server]) -> None:
        self.one, self.other = map(Node, every[:2])
        self.workers = every[2:]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    postgresql_server: PostgreSQL,
    clickhouse_server: Double,
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    stores = {
        **new_stores(postgresql_server, clickhouse_server),
        "api_keys": TEST_KEY,
        "partitions": "4",
    }

    with serving_roles(folder, stores, ROLES) as every, ExitStack() as opened:
        made = Cluster(every)
        for node in (made.one, made.other):
            opened.callback(node.client.close)
        yield made
        for one in every:
            assert not one.errors(), one.log()


def until(done: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS_MAX
    while not (found := done()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def meter(node: Node, name: str) -> str:
    data = {
        "display_name": name,
        "event_name": name,
        "default_aggregation[formula]": "sum",
    }
    made: str = node.post("/v1/billing/meters", data=data)["id"]
    return made


def test_a_change_of_dimensions_and_a_verification_are_known_to_all(cluster: Cluster) -> None:
    one, other = cluster.one, cluster.other
    made, customer = meter(one, "calls"), one.post("/v1/customers")["id"]
    for number in range(8):
        (one, other)[number % 2].event(f"e{number}", customer, region="eu")
    path = f"/meterhouse/v1/meters/{made}/dimensions"
    begun = one.post(path, data={"dimension_payload_keys[]": ["region"]})
    until(lambda: other.get(path)["change"]["status"] == "complete")
    assert begun["change"]["dimension_payload_keys"] == ["region"]
    for node in (one, other):
        checked = CliRunner().invoke(app, ["verify", "--data-dir", str(node.server.data_dir)])
        assert checked.exit_code == 0, checked.output


def test_what_is_rejected_is_reported_once_and_sent_again(
    cluster: Cluster, receiver: Receiver
) -> None:
    """Given events of no meter at both nodes, then a window has one report, delivered once."""
    one, other = cluster.one, cluster.other
    customer = one.post("/v1/customers")["id"]
    destination = {
        "name": "reports",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": ["v1.billing.meter.no_meter_found"],
        "webhook_endpoint": {"url": receiver.url},
    }
    other.post("/v2/core/event_destinations", json=destination)
    for number in range(12):
        (one, other)[number % 2].event(f"w{number}", customer, "tokens")

    def reports() -> list[dict[str, Any]]:
        ids = [json.loads(heard.body)["id"] for heard in receiver.heard]
        return [one.get(f"/v2/core/events/{id_}")["data"] for id_ in ids]

    # They may fall into two windows.
    until(lambda: sum(report["reason"]["error_count"] for report in reports()) >= 12)
    told = reports()
    assert sum(report["reason"]["error_count"] for report in told) == 12
    assert len({report["validation_start"] for report in told}) == len(told)
    meter(other, "tokens")
    resend = other.post("/meterhouse/v1/invalid_meter_events/resend", json={"filter": {}})
    path = f"/meterhouse/v1/resends/{resend['id']}"
    done = until(lambda: (found := one.get(path))["status"] == "complete" and found)
    assert (done["matched"], done["accepted"]) == (12, 12)
    assert len(receiver.heard) == len(told)


def test_a_customer_that_is_forgotten_at_one_node_is_forgotten(cluster: Cluster) -> None:
    one, other = cluster.one, cluster.other
    customer = one.post("/v1/customers", data={"name": "Ada"})["id"]
    token = json.loads((other.server.data_dir / "server.json").read_text())["token"]
    operator = {"Authorization": f"Bearer {token}"}
    begun = httpx.post(
        f"{other.server.url}/meterhouse/v1/customers/{customer}/erase",
        json={"payload_keys": ["note"]},
        headers=operator,
        timeout=30,
    ).json()

    def complete() -> bool:
        found = httpx.get(
            f"{other.server.url}/meterhouse/v1/erasures/{begun['id']}", headers=operator
        ).json()
        return bool(found["step"] in (None, "files"))

    until(complete)
    assert one.get(f"/v1/customers/{customer}")["deleted"] is True


def test_a_stripe_cli_hears_at_one_node_what_happens_at_the_other(cluster: Cluster) -> None:
    one, other = cluster.one, cluster.other
    session = one.listen(**{"websocket_features[]": ["webhooks"]})
    before = one.post("/v1/customers")["id"]
    with other.socket(session) as socket:
        after = [node.post("/v1/customers")["id"] for node in (one, other)]
        heard: list[str] = []
        while len(heard) < 3:
            frame = json.loads(socket.recv(SECONDS_MAX))
            event = json.loads(frame["event_payload"])
            made = event["data"]["object"]["id"]
            if made not in heard:  # it comes in two versions
                heard.append(made)
        assert heard == [before, *after]
    tail = other.listen(**{"websocket_features[]": ["request_logs"]})
    with other.socket(tail) as socket:
        made = one.post("/v1/customers", headers={"Idempotency-Key": "tailed"})["id"]
        while True:
            frame = json.loads(socket.recv(SECONDS_MAX))
            entry = json.loads(frame["event_payload"])
            if entry["url"] == "/v1/customers" and entry["method"] == "POST":
                break
        assert entry["status"] == 200
        assert made


def bills(worker: Server) -> bool:
    """Tell whether a worker is the one that bills."""
    metrics = httpx.get(f"{worker.url}/metrics", timeout=30).text
    return 'meterhouse_lease_epoch{lease="invoice"}' in metrics


def test_a_clock_arrives_although_the_worker_that_moves_it_is_killed(cluster: Cluster) -> None:
    """It comes last: one of the workers is gone after it."""
    one, other = cluster.one, cluster.other
    price = {
        "currency": "usd",
        "product_data[name]": "Tokens",
        "unit_amount": "4",
        "recurring[interval]": "month",
        "recurring[usage_type]": "metered",
        "recurring[meter]": meter(one, "billed"),
    }
    path = "/v1/test_helpers/test_clocks"
    clock = one.post(path, data={"frozen_time": 1_801_389_600})["id"]  # 2027-01-31T10:00Z
    customer = other.post("/v1/customers", data={"test_clock": clock})["id"]
    items = {"customer": customer, "items[0][price]": one.post("/v1/prices", data=price)["id"]}
    one.post("/v1/subscriptions", data=items)
    other.event("billed once", customer, "billed")
    one.post(f"{path}/{clock}/advance", data={"frozen_time": 1_895_907_600})  # 36 months later
    [worker] = [worker for worker in cluster.workers if bills(worker)]
    until(lambda: other.get("/v1/invoices", customer=customer)["data"])
    worker.process.kill()
    until(lambda: other.get(f"{path}/{clock}")["status"] == "ready")
    invoices = one.get("/v1/invoices", customer=customer, limit=30)["data"]
    last = invoices[-1]["id"]
    invoices += one.get("/v1/invoices", customer=customer, limit=30, starting_after=last)["data"]
    assert [int(invoice["number"][-4:]) for invoice in invoices] == [*range(35, 0, -1)]
    assert [invoice["total"] for invoice in invoices] == [*[0] * 34, 8]
    for later, earlier in pairwise(invoices):
        assert earlier["period_end"] == later["period_start"]


def test_an_alert_is_triggered_once_whoever_judges(cluster: Cluster) -> None:
    """Given customers whose events go to several workers, each reaches it by all of them."""
    one, other = cluster.one, cluster.other
    meter = {
        "display_name": "Watched",
        "event_name": "watched",
        "default_aggregation[formula]": "sum",
    }
    alert = {
        "alert_type": "usage_threshold",
        "title": "Much",
        "usage_threshold[gte]": "8",
        "usage_threshold[meter]": one.post("/v1/billing/meters", data=meter)["id"],
        "usage_threshold[recurrence]": "one_time",
    }
    made = one.post("/v1/billing/alerts", data=alert)["id"]
    customers = [one.post("/v1/customers")["id"] for _ in range(6)]
    for number in range(8):
        for customer in customers[: 4 if number > 2 else 6]:
            (one, other)[number % 2].event(f"{customer}-{number}", customer, "watched")

    def told() -> list[str]:
        events = one.get("/v1/events", type="billing.alert.triggered", limit=100)["data"]
        objects = [event["data"]["object"] for event in events]
        return sorted(each["customer"] for each in objects if each["alert"]["id"] == made)

    assert until(lambda: len(found := told()) >= 4 and found) == sorted(customers[:4])
    for number, customer in enumerate(customers):
        one.event(f"{customer}-more-{number}", customer, "watched")
    assert until(lambda: len(found := told()) >= 6 and found) == sorted(customers)
