"""The real Stripe CLI against the real server, over its port and over its Unix socket."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import stripe

from tests.api.samples import make_customer, make_meter, send
from tests.api.stripe_cli import BINARY, PACKAGE, ROOT, Sink, StripeCli, sinking
from tests.server import LIVE_KEY, TEST_KEY, Server, serving, start

pytestmark = pytest.mark.skipif(
    BINARY is None, reason=f"no CLI in {PACKAGE.relative_to(ROOT)}; `make` puts it there, with npm"
)

ERROR_REPORT = "v1.billing.meter.error_report_triggered"
NO_METER = "v1.billing.meter.no_meter_found"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("cli")
    with serving(folder / "data", uds=str(folder / "socket")) as server:
        yield server


@pytest.fixture(params=["port", "socket"])
def cli(request: pytest.FixtureRequest, served: Server, tmp_path: Path) -> StripeCli:
    if request.param == "port":
        return StripeCli(tmp_path, served.url)
    return StripeCli(tmp_path, None, served.data_dir.parent / "socket")


@pytest.fixture
def by_port(served: Server, tmp_path: Path) -> StripeCli:
    return StripeCli(tmp_path, served.url)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with sinking() as opened:
        yield opened


def sdk(server: Server) -> stripe.StripeClient:
    return stripe.StripeClient(TEST_KEY, base_addresses={"api": server.url})


def secret_of(cli: StripeCli) -> str:
    secret = cli.run("listen", "--print-secret").stdout.strip()
    assert secret.startswith("whsec_")
    return secret


def meter(cli: StripeCli, event_name: str) -> Any:
    return cli.ask(
        "billing",
        "meters",
        "create",
        "--display-name=Calls",
        f"--event-name={event_name}",
        "--default-aggregation.formula=sum",
    )


def test_thin_events_arrive_signed(served: Server, cli: StripeCli, sink: Sink) -> None:
    flags = ("--forward-thin-to", f"{sink.url}/thin", "--thin-events", "*")
    with cli.listening("listen", "-s", *flags) as lines:
        assert lines.wait_for(r"signing secret is (whsec_\w+)") == secret_of(cli)
        made = cli.ask("post", "/v1/customers", "-d", "name=Ada")
        body, headers = sink.wait_for("/thin", "v1.customer.created")
        lines.wait_for(r"<--  \[200\] POST")
    event = sdk(served).parse_event_notification(body, headers["Stripe-Signature"], secret_of(cli))
    assert event.id.startswith("evt_test_65")
    assert json.loads(body)["related_object"]["id"] == made["id"]
    assert cli.ask("v2", "core", "events", "retrieve", event.id)["type"] == "v1.customer.created"


def test_snapshot_events_arrive_signed(cli: StripeCli, sink: Sink) -> None:
    with cli.listening("listen", "-s", "--all-snapshot", "--forward-to", f"{sink.url}/snap"):
        made = cli.ask("customers", "create", "--name=Ada")
        body, headers = sink.wait_for("/snap", "customer.created")
    signature = headers["Stripe-Signature"]
    event = stripe.Webhook.construct_event(body, signature, secret_of(cli))
    assert event.data.object.id == made["id"]
    assert len(sink.got) == 1


def test_a_kill_of_the_server_loses_no_event(tmp_path: Path, sink: Sink) -> None:
    """The CLI comes back by itself, seconds later, and hears what has happened meanwhile."""
    settings = {"api_keys": TEST_KEY}
    server = start(tmp_path / "data", settings)
    cli = StripeCli(tmp_path, server.url)
    flags = ("--forward-thin-to", f"{sink.url}/thin", "--thin-events", "*")
    with ExitStack() as stack:
        stack.callback(kill, server)
        stack.enter_context(cli.listening("listen", "-s", *flags))
        made = [sdk(server).v1.customers.create().id]
        sink.wait_for("/thin", "v1.customer.created")
        kill(server)
        server = start(tmp_path / "data", settings, port=urlsplit(server.url).port or 0)
        stack.callback(kill, server)
        made += [sdk(server).v1.customers.create().id for _ in range(2)]
        for one in made[1:]:
            sink.wait_for("/thin", "v1.customer.created", about=one)
    told = [json.loads(body)["related_object"]["id"] for _, body, _ in sink.got]
    again = told.count(made[0]) - 1  # what was acknowledged just before the kill
    assert again in (0, 1)
    assert sorted(told) == sorted(made + made[:again])


def kill(server: Server) -> None:
    if server.process.poll() is None:
        server.process.kill()
        server.process.communicate()


def test_events_are_chosen_by_name(by_port: StripeCli) -> None:
    events = "customer.deleted,v1.customer.deleted"
    with by_port.listening("listen", "-s", "--events", events, "--latest") as lines:
        made = by_port.ask("customers", "create")
        by_port.ask("delete", f"/v1/customers/{made['id']}", "-c")
        for name in events.split(","):
            lines.wait_for(rf"--> {name} ")
        assert "customer.created" not in lines.text()


def test_an_alert_that_is_triggered_is_heard(
    served: Server, by_port: StripeCli, sink: Sink
) -> None:
    client = sdk(served)
    meter = make_meter(client, "watched")
    customer = make_customer(client)
    alert = client.v1.billing.alerts.create(
        {
            "alert_type": "usage_threshold",
            "title": "Much",
            "usage_threshold": {"gte": 10, "meter": meter, "recurrence": "one_time"},
        }
    )
    events, to = "billing.alert.triggered", f"{sink.url}/alert"
    with by_port.listening("listen", "-s", "--events", events, "--forward-to", to) as lines:
        send(client, customer, "9", "watched")
        send(client, customer, "3", "watched")
        lines.wait_for(rf"--> {events} ")
        body, _ = sink.wait_for("/alert", "billing.alert.triggered")
    told = json.loads(body)["data"]["object"]
    assert (told["alert"]["id"], told["customer"], told["value"]) == (alert.id, customer, 12)


def test_what_came_of_forwarding_is_recorded(
    served: Server, by_port: StripeCli, sink: Sink
) -> None:
    with by_port.listening(
        "listen", "-s", "--all-snapshot", "--forward-to", f"{sink.url}/broken"
    ) as lines:
        by_port.ask("customers", "create")
        event = lines.wait_for(r"<--  \[500\] POST \S+ \[(evt_\w+)\]")
        [delivery] = deliveries(served, event)
    assert (delivery["status"], delivery["attempts"][0]["status"]) == ("failed", 500)
    assert delivery["attempts"][0]["response"] == "thanks"


def deliveries(server: Server, event: str) -> list[Any]:
    """Return an event's deliveries, once there is an attempt."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = httpx.get(
            f"{server.url}/meterhouse/v1/deliveries",
            params={"event": event},
            auth=(TEST_KEY, ""),
            trust_env=False,
        )
        found: list[Any] = answer.json()["data"]
        if found and found[0]["attempts"]:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing is recorded of {event}")


def test_configured_endpoints_are_used(by_port: StripeCli, sink: Sink) -> None:
    made = by_port.ask(
        "webhook_endpoints",
        "create",
        "--url=https://example.com/hooks/stripe",
        "--enabled-events=customer.created",
    )
    try:
        with by_port.listening("listen", "-s", "-a", "--all-snapshot", "-f", sink.url):
            by_port.ask("customers", "create")
            sink.wait_for("/hooks/stripe", "customer.created")
    finally:
        by_port.ask("webhook_endpoints", "delete", made["id"], "-c")


def test_an_event_is_sent_again(by_port: StripeCli, sink: Sink) -> None:
    made = by_port.ask("customers", "create")
    [event] = by_port.ask("events", "list", "--limit=1")["data"]
    with by_port.listening("listen", "-s", "--all-snapshot", "-f", f"{sink.url}/again"):
        by_port.ask("events", "resend", event["id"])
        body, _ = sink.wait_for("/again", "customer.created")
    assert json.loads(body)["data"]["object"]["id"] == made["id"]
    refused = by_port.ask("events", "resend", "evt_none")["error"]
    assert refused["message"] == "No such notification: 'evt_none'"


def test_logs_are_tailed(by_port: StripeCli) -> None:
    tail = by_port.listening
    filters = ("--filter-http-method", "get", "--filter-status-code-type", "4XX")
    with tail("logs", "tail") as every, tail("logs", "tail", *filters) as some:
        by_port.ask("customers", "create")
        by_port.ask("get", "/v1/customers/cus_none")
        every.wait_for(r"\[200\] POST /v1/customers \[req_\w{14}\]")
        for lines in (every, some):
            lines.wait_for(r"\[404\] GET /v1/customers/cus_none \[req_\w{14}\]")
            lines.wait_for("Message: No such customer: 'cus_none'")
        assert "POST" not in some.text()


def test_meters_and_their_events(by_port: StripeCli) -> None:
    ask = by_port.ask
    made, customer = meter(by_port, "walk"), ask("customers", "create")["id"]
    assert ask("billing", "meters", "list", "--status=active")["data"][0] == made
    assert ask("billing", "meters", "retrieve", made["id"]) == made
    renamed = ask("billing", "meters", "update", made["id"], "--display-name=All")
    assert renamed["display_name"] == "All"
    assert ask("billing", "meters", "deactivate", made["id"])["status"] == "inactive"
    assert ask("billing", "meters", "reactivate", made["id"])["status"] == "active"
    payload = ("-d", "payload[value]=25", "-d", f"payload[stripe_customer_id]={customer}")
    for identifier in ("one", "two"):
        named = ("--event-name=walk", f"--identifier={identifier}")
        sent = ask("billing", "meter_events", "create", *named, *payload)
        assert sent["identifier"] == identifier
    cancel = ("--event-name=walk", "--type=cancel", "--cancel.identifier=one")
    assert ask("billing", "meter_event_adjustments", "create", *cancel)["status"] == "pending"
    hour = sent["timestamp"] // 3_600 * 3_600
    [summary] = ask(
        "billing",
        "meter_event_summaries",
        "list",
        made["id"],
        f"--customer={customer}",
        f"--start-time={hour}",
        f"--end-time={hour + 7_200}",
    )["data"]
    assert summary["aggregated_value"] == 25


def test_version_2_of_the_api(by_port: StripeCli) -> None:
    ask = by_port.ask
    made = meter(by_port, "walk_2")
    assert ask("v2", "billing", "meter_event_sessions", "create")["authentication_token"]
    payload = json.dumps({"payload": {"stripe_customer_id": "cus_1", "value": "3"}})
    named = ("--event-name=walk_2", "--identifier=three")
    assert ask("v2", "billing", "meter_events", "create", *named, "-d", payload)["created"]
    cancel = ("--event-name=walk_2", "--type=cancel", "--cancel.identifier=three")
    assert "error" in ask("v2", "billing", "meter_event_adjustments", "create", *cancel)
    stream = json.dumps({"events": [{"event_name": "walk_2", "payload": {"value": "1"}}]})
    assert ask("post", "/v2/billing/meter_event_stream", "-d", stream) == {}
    # One that is newer may tell of the event without a customer.
    *_, event = ask("v2", "core", "events", "list", f"--object-id={made['id']}")["data"]
    assert event["type"] == "v1.billing.meter.created"
    destination = ask(
        "v2",
        "core",
        "event_destinations",
        "create",
        "--name=Errors",
        "--type=webhook_endpoint",
        "--event-payload=thin",
        f"--enabled-events={ERROR_REPORT}",
        f"--enabled-events={NO_METER}",
        "--webhook-endpoint.url=https://127.0.0.1:9/errors",
        "--include=webhook_endpoint.signing_secret",
    )
    assert destination["webhook_endpoint"]["signing_secret"].startswith("whsec_")
    at = ("v2", "core", "event_destinations")
    assert ask(*at, "disable", destination["id"])["status"] == "disabled"
    assert ask(*at, "list", "--limit=5")["data"][0]["id"] == destination["id"]
    assert ask(*at, "delete", destination["id"], "-c")["id"] == destination["id"]


def test_a_fixture_of_ones_own(by_port: StripeCli, tmp_path: Path) -> None:
    meter = {
        "display_name": "Calls",
        "event_name": "fixture",
        "default_aggregation": {"formula": "sum"},
    }
    steps: list[tuple[str, str, Any]] = [
        ("meter", "/v1/billing/meters", meter),
        ("customer", "/v1/customers", {"name": "Ada"}),
        (
            "event",
            "/v1/billing/meter_events",
            {
                "event_name": "${meter:event_name}",
                "payload": {"value": "7", "stripe_customer_id": "${customer:id}"},
            },
        ),
    ]
    fixture = {
        "_meta": {"template_version": 0},
        "fixtures": [
            {"name": name, "path": path, "method": "post", "params": params}
            for name, path, params in steps
        ],
    }
    path = tmp_path / "fixture.json"
    path.write_text(json.dumps(fixture))
    done = by_port.run("fixtures", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_keys_and_modes(served: Server, tmp_path: Path) -> None:
    wrong = StripeCli(tmp_path, served.url, key="sk_test_" + "x" * 24)
    refused = wrong.run("get", "/v1/billing/meters")
    assert refused.returncode == 1
    assert "Invalid API Key provided" in refused.stdout + refused.stderr
    live = StripeCli(tmp_path, served.url, key=LIVE_KEY)
    assert live.ask("get", "/v1/customers", "--live")["data"] == []


def test_triggers_end_in_error_reports(served: Server, tmp_path: Path, sink: Sink) -> None:
    cli = StripeCli(tmp_path, None, served.data_dir.parent / "socket")
    with cli.listening("listen", "-s", "--all-thin", "--forward-to", f"{sink.url}/thin"):
        for name in (ERROR_REPORT, NO_METER):
            done = cli.run("trigger", name)
            assert done.returncode == 0, done.stdout + done.stderr
        newest = cli.ask("billing", "meters", "list", "--status=active")["data"][0]["id"]
        received = [
            sink.wait_for("/thin", ERROR_REPORT, about=newest),
            sink.wait_for("/thin", NO_METER),
        ]
    codes = []
    for body, headers in received:
        signature = headers["Stripe-Signature"]
        event: Any = sdk(served).parse_event_notification(body, signature, secret_of(cli))
        reason = event.fetch_event().data.reason
        codes += [one.code for one in reason.error_types]
    assert codes == ["meter_event_no_customer_defined", "no_meter"]
