import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.wire.stripecli import (
    Ack,
    LogFilters,
    Response,
    listen_secret,
    log_frame,
    read_filters,
    read_frame,
    snapshot_frame,
    thin_frame,
)

HEADERS = {"Stripe-Signature": "t=1,v1=aa"}
POST = ("POST", "/v1/customers", 400, "127.0.0.1")


def test_a_device_signs_alike_whenever_it_listens() -> None:
    secret = listen_secret(b"s" * 32, "acct_1", "laptop", livemode=False)
    assert secret == listen_secret(b"s" * 32, "acct_1", "laptop", livemode=False)
    assert secret.startswith("whsec_")
    assert len(secret) == len("whsec_") + 64


def test_every_account_mode_and_device_has_a_secret_of_its_own() -> None:
    secrets = {
        listen_secret(key, account, device, livemode=livemode)
        for key in (b"s" * 32, b"t" * 32)
        for account in ("acct_1", "acct_2")
        for device in ("laptop", "")
        for livemode in (False, True)
    }
    assert len(secrets) == 16


def test_a_snapshot_frame_as_the_cli_reads_it() -> None:
    assert json.loads(snapshot_frame("evt_1", HEADERS, "cli_1", b'{"id":"evt_1"}', None)) == {
        "type": "webhook_event",
        "endpoint": {"api_version": None},
        "event_payload": '{"id":"evt_1"}',
        "http_headers": HEADERS,
        "webhook_conversation_id": "wc_1",
        "webhook_id": "cli_1",
    }


def test_a_thin_frame_as_the_cli_reads_it() -> None:
    assert json.loads(thin_frame(HEADERS, "cli_1", b'{"id":"evt_test_1"}')) == {
        "type": "v2_event",
        "payload": '{"id":"evt_test_1"}',
        "http_headers": HEADERS,
        "destination_id": "cli_1",
    }


def test_a_log_frame_as_the_cli_reads_it() -> None:
    assert json.loads(log_frame("req_1", b'{"status":200}')) == {
        "type": "request_log_event",
        "event_payload": '{"status":200}',
        "request_log_id": "resp_1",
    }


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ({"type": "event_ack", "event_id": "evt_1", "webhook_conversation_id": "wc_1"}, "evt_1"),
        ({"type": "event_ack", "event_id": "cli_1", "webhook_conversation_id": "wc_1"}, "evt_1"),
        ({"type": "event_ack", "event_id": "evt_1", "webhook_conversation_id": ""}, "evt_1"),
        ({"type": "event_ack", "event_id": "resp_1", "webhook_id": ""}, "resp_1"),
        ({"type": "event_ack"}, ""),
        ({"type": "webhook_response", "status": 200, "notification_id": "evt_2"}, "evt_2"),
        ({"type": "webhook_response", "status": 200, "webhook_conversation_id": "wc_3"}, "evt_3"),
    ],
)
def test_what_a_frame_of_the_cli_is_about(frame: dict[str, object], name: str) -> None:
    read = read_frame(json.dumps(frame))
    assert isinstance(read, Ack | Response)
    assert read.name == name


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", '{"type":"hello"}', '{"type":"webhook_response"}'),
        '{"type":"webhook_response","status":99}',
        '{"type":"webhook_response","status":100000000000000000000}',
        '{"type":"event_ack","a":' + "[" * 5_000,
        '{"a":' * 5_000,
    ],
)
def test_what_is_no_frame_is_passed_over(text: str) -> None:
    assert read_frame(text) is None


@given(st.binary() | st.text())
def test_nothing_that_is_sent_raises(sent: bytes | str) -> None:
    assert read_frame(sent) is None or sent


@pytest.mark.parametrize(
    ("filters", "admitted"),
    [
        ({}, True),
        ({"filter_http_method": ["GET", "POST"]}, True),
        ({"filter_http_method": ["post"]}, True),
        ({"filter_http_method": ["GET"]}, False),
        ({"filter_request_path": ["/v1/customers"]}, True),
        ({"filter_request_path": ["/v1/custom"]}, False),
        ({"filter_request_status": ["failed"]}, True),
        ({"filter_request_status": ["SUCCEEDED"]}, False),
        ({"filter_source": ["API"]}, True),
        ({"filter_source": ["DASHBOARD"]}, False),
        ({"filter_status_code": ["400"]}, True),
        ({"filter_status_code": ["200", "404"]}, False),
        ({"filter_status_code_type": ["200", "400"]}, True),
        ({"filter_status_code_type": ["500"]}, False),
        ({"filter_ip_address": ["127.0.0.1"]}, True),
        ({"filter_ip_address": ["10.0.0.1"]}, False),
        ({"filter_account": ["connect_in"]}, True),
        ({"filter_http_method": ["POST"], "filter_status_code": ["200"]}, False),
    ],
)
def test_which_requests_a_filter_admits(filters: dict[str, list[str]], admitted: bool) -> None:
    assert LogFilters(**filters).admit(*POST) is admitted
    assert read_filters(json.dumps(filters)) == LogFilters(**filters)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"filter_source":"API"}', "{", '{"a":' * 5_000]
)
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_filters(text)
