"""Thin events in the hands of the official SDKs: told of one, they verify, parse and fetch it.

The old ones run in processes of their own, where `make test` has put them.
"""

import json
import sys
import time
from typing import Any

import pytest
import stripe

from meterhouse.ledger import notifications, rejections
from meterhouse.metering.report import RejectionLine, Sample
from meterhouse.wire.body import to_json
from meterhouse.wire.notification import thin_event
from meterhouse.wire.signature import sign
from tests.api.local import LocalServer
from tests.api.samples import make_customer
from tests.api.v2.test_sdks import CLIENTS, InProcess, run, speak
from tests.server import TEST_KEY, Server

SECRET = "whsec_4eC39HqLyjWDarjtT1zdp7dc"


@pytest.fixture
def sdk(local: LocalServer) -> stripe.StripeClient:
    """Return the SDK, at work on the server within this process."""
    return speak(TEST_KEY, "http://meterhouse", http_client=InProcess(local))


def report(local: LocalServer, meter: str, code: str) -> None:
    """Let a window have rejected events, and let it be reported."""
    window = local.clock.now() // 10_000 * 10_000
    line = RejectionLine(1, meter, window, code, 7, [Sample("a", "It is wrong.")])
    local.run(local.meterhouse.services.stores.write(rejections.add, [line]))
    local.clock.advance(12_000)
    local.run(local.job("report").report())


def delivered(local: LocalServer) -> tuple[str, str]:
    """Return the newest event as it is delivered: its body, and the signature of it."""
    read = local.meterhouse.services.stores.read
    *_, (_, newest) = local.run(read(notifications.after, 0, 100))
    body = to_json(thin_event(newest, livemode=False, fetched=False))
    return body.decode(), sign([SECRET], body, time.time_ns() // 1_000_000)


def test_an_error_report(local: LocalServer, sdk: stripe.StripeClient) -> None:
    meter = local.meter()
    report(local, meter, "archived_meter")
    told = sdk.parse_event_notification(*delivered(local), SECRET)
    assert isinstance(told, stripe.events.V1BillingMeterErrorReportTriggeredEventNotification)
    assert (told.related_object.id, told.reason, told.livemode) == (meter, None, False)
    assert told.fetch_related_object().id == meter
    event = told.fetch_event()
    assert isinstance(event, stripe.events.V1BillingMeterErrorReportTriggeredEvent)
    assert event.data.developer_message_summary == "There are 7 invalid events"
    assert event.data.validation_end == "2026-11-21T12:00:10.000Z"
    (kind,) = event.data.reason.error_types
    assert (kind.code, kind.error_count) == ("archived_meter", 7)
    (sample,) = kind.sample_errors
    assert (sample.error_message, sample.request.identifier) == ("It is wrong.", "a")
    assert event.fetch_related_object().id == meter


def test_events_that_match_no_meter(local: LocalServer, sdk: stripe.StripeClient) -> None:
    report(local, "", "no_meter")
    told = sdk.parse_event_notification(*delivered(local), SECRET)
    assert isinstance(told, stripe.events.V1BillingMeterNoMeterFoundEventNotification)
    event = told.fetch_event()
    assert isinstance(event, stripe.events.V1BillingMeterNoMeterFoundEvent)
    assert event.data.reason.error_types[0].code == "no_meter"


def test_a_twin(local: LocalServer, sdk: stripe.StripeClient) -> None:
    customer = local.customer()
    told = sdk.parse_event_notification(*delivered(local), SECRET)
    assert isinstance(told, stripe.events.V1CustomerCreatedEventNotification)
    assert told.fetch_related_object().id == customer
    assert told.reason is not None
    assert told.reason.request is not None
    event = told.fetch_event()
    assert event.snapshot_event is not None
    snapshot = sdk.v1.events.retrieve(event.snapshot_event)
    assert snapshot.request is not None
    assert snapshot.request.id == told.reason.request.id
    assert snapshot.data.object["id"] == customer


def test_an_event_with_a_wrong_signature(local: LocalServer, sdk: stripe.StripeClient) -> None:
    local.customer()
    body, signature = delivered(local)
    with pytest.raises(stripe.SignatureVerificationError):
        sdk.parse_event_notification(body, signature, "whsec_other")


def test_the_list_is_walked(local: LocalServer, sdk: stripe.StripeClient) -> None:
    customers = [local.customer() for _ in range(5)]
    local.meter()
    events = sdk.v2.core.events.list({"limit": 2, "types": ["v1.customer.created"]})
    walked: list[Any] = list(events.auto_paging_iter())
    assert [event.related_object.id for event in walked] == customers[::-1]
    (one,) = sdk.v2.core.events.list({"object_id": customers[0]}).data
    assert sdk.v2.core.events.retrieve(one.id).to_dict() == one.to_dict()
    assert sdk.v2.core.events.list({"created": {"lt": "2026-11-21T12:00:00Z"}}).data == []


def test_an_event_of_a_connected_account(
    server: Server, client: stripe.StripeClient, account: str
) -> None:
    """Given a platform that is told of its account's event, it fetches it in that context."""
    customer = make_customer(client)
    platform = stripe.StripeClient(TEST_KEY, base_addresses={"api": server.url})
    (event,) = client.v2.core.events.list({"object_id": customer}).data
    assert event.context == account
    body = {key: value for key, value in event.to_dict().items() if key != "changes"}
    text = json.dumps(body)
    signature = sign([SECRET], text.encode(), time.time_ns() // 1_000_000)
    told = platform.parse_event_notification(text, signature, SECRET)
    assert isinstance(told, stripe.events.V1CustomerCreatedEventNotification)
    assert told.fetch_event().id == event.id
    assert told.fetch_related_object().id == customer


OLD_PYTHON = """
import json, sys
import stripe

url, key, account, secret, body, signature = sys.argv[1:]
client = stripe.StripeClient(key, base_addresses={"api": url}, stripe_account=account)
thin = client.parse_thin_event(body, signature, secret)
event = client.v2.core.events.retrieve(thin.id)
related = event.related_object
found = client.v2.core.events.list({"object_id": related.id}).data
print(json.dumps([thin.type, event.id == thin.id, related.id, len(found)]))
"""


@pytest.mark.parametrize("version", ["11", "12.5"])
def test_old_python(
    server: Server, client: stripe.StripeClient, account: str, version: str
) -> None:
    folder = CLIENTS / f"stripe-{version}"
    if not folder.is_dir():
        pytest.skip(f"stripe {version} is not in {folder}; `make test` puts it there")
    meter: Any = {
        "display_name": "Calls",
        "event_name": "calls",
        "default_aggregation": {"formula": "sum"},
    }
    made = client.v1.billing.meters.create(meter).id
    (event,) = client.v2.core.events.list({"object_id": made}).data
    # An error report has no reason either, and these versions can read no event that has one.
    body = json.dumps(event.to_dict() | {"reason": None})
    signature = sign([SECRET], body.encode(), time.time_ns() // 1_000_000)
    arguments = [server.url, TEST_KEY, account, SECRET, body, signature]
    told = run(
        [sys.executable, "-W", "ignore", "-c", OLD_PYTHON, *arguments],
        {"PYTHONPATH": str(folder), "XDG_CONFIG_HOME": str(server.data_dir), "NO_PROXY": "*"},
    )
    assert told == ["v1.billing.meter.created", True, made, 1]
