import json
from typing import Any

import stripe

from meterhouse.delivery.frames import frames
from meterhouse.delivery.listener import Item
from meterhouse.wire.version import DEFAULT_VERSION
from tests.delivery.samples import DEVICE, NOW, event, request_log

BODY = {"object": {"id": "cus_1", "object": "customer"}}


def told(item: Item) -> list[dict[str, Any]]:
    return [json.loads(one) for one in frames(item, DEVICE, livemode=False, now=NOW)]


def verify(payload: str, headers: dict[str, str]) -> None:
    """Have the SDK look at the signature, whatever the time is."""
    stripe.WebhookSignature.verify_header(
        payload, headers["Stripe-Signature"], DEVICE.secret, tolerance=None
    )
    assert headers["Stripe-Signature"].startswith(f"t={NOW // 1000},v1=")


def test_a_thin_event_is_one_signed_frame() -> None:
    [frame] = told(event()._replace(account="acct_2"))
    verify(frame["payload"], frame["http_headers"])
    assert frame["destination_id"] == "cli_1"
    payload = json.loads(frame["payload"])
    assert (payload["id"], payload["context"]) == ("evt_1", "acct_2")
    assert "data" not in payload


def test_a_snapshot_event_is_told_at_both_versions() -> None:
    plain, latest = told(event(payload="snapshot", type="customer.created", body=BODY))
    for frame in (plain, latest):
        verify(frame["event_payload"], frame["http_headers"])
        assert json.loads(frame["event_payload"])["data"] == BODY
    assert plain["endpoint"] == {"api_version": None}
    assert latest["endpoint"] == {"api_version": DEFAULT_VERSION.text}
    assert plain["webhook_conversation_id"] == latest["webhook_conversation_id"] == "wc_1"


def test_a_request_is_told_as_the_cli_prints_it() -> None:
    [frame] = told(request_log(status=400, error='{"type":"invalid_request_error"}'))
    assert frame["request_log_id"] == "resp_1"
    assert json.loads(frame["event_payload"]) == {
        "created_at": NOW // 1000,
        "livemode": False,
        "method": "POST",
        "request_id": "req_1",
        "status": 400,
        "url": "/v1/customers",
        "error": {"type": "invalid_request_error"},
    }


def test_a_request_without_an_error_has_none() -> None:
    [frame] = told(request_log())
    assert "error" not in json.loads(frame["event_payload"])
