from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.wire.notification import (
    Notification,
    previous_attributes,
    snapshot_event,
    thin_event,
    twin_of,
)

SNAPSHOT = Notification(
    id="evt_1",
    scope=1,
    payload="snapshot",
    type="billing.meter.updated",
    created=1_795_262_400_123,
    object_id="mtr_test_61",
    object_type="billing.meter",
    object_url="/v1/billing/meters/mtr_test_61",
    body={"object": {"id": "mtr_test_61"}, "previous_attributes": {"updated": 1}},
    request_id="req_1",
    idempotency_key="key",
)
REPORT = Notification(
    id="evt_test_65",
    scope=1,
    payload="thin",
    type="v1.billing.meter.no_meter_found",
    created=1_795_262_400_123,
    body={"developer_message_summary": "There is 1 invalid event"},
)
RELATED = {
    "id": "mtr_test_61",
    "type": "billing.meter",
    "url": "/v1/billing/meters/mtr_test_61",
}


def test_a_snapshot_event() -> None:
    assert snapshot_event(SNAPSHOT, livemode=False, pending_webhooks=2) == {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_795_262_400,
        "data": {"object": {"id": "mtr_test_61"}, "previous_attributes": {"updated": 1}},
        "livemode": False,
        "pending_webhooks": 2,
        "request": {"id": "req_1", "idempotency_key": "key"},
        "type": "billing.meter.updated",
    }
    alone = msgspec.structs.replace(SNAPSHOT, request_id=None, idempotency_key=None)
    told = snapshot_event(alone, livemode=True, account="acct_1")
    assert (told["request"], told["livemode"], told["account"]) == (None, True, "acct_1")


def test_a_thin_event_as_it_is_delivered() -> None:
    assert thin_event(REPORT, livemode=False, fetched=False) == {
        "id": "evt_test_65",
        "object": "v2.core.event",
        "context": None,
        "created": "2026-11-21T12:00:00.123Z",
        "livemode": False,
        "reason": None,
        "type": "v1.billing.meter.no_meter_found",
    }


def test_a_thin_event_as_it_is_fetched() -> None:
    delivered = thin_event(REPORT, livemode=True, account="acct_1", fetched=False)
    assert (delivered["context"], delivered["livemode"]) == ("acct_1", True)
    assert thin_event(REPORT, livemode=True, account="acct_1", fetched=True) == delivered | {
        "changes": None,
        "snapshot_event": None,
        "data": {"developer_message_summary": "There is 1 invalid event"},
    }


@pytest.mark.parametrize(("livemode", "beginning"), [(True, "evt_65"), (False, "evt_test_65")])
def test_the_twin_of_a_snapshot_event(livemode: bool, beginning: str) -> None:
    twin = twin_of(SNAPSHOT, livemode=livemode)
    assert twin.id.startswith(beginning)
    assert thin_event(twin, livemode=livemode, fetched=True) == {
        "id": twin.id,
        "object": "v2.core.event",
        "changes": None,
        "context": None,
        "created": "2026-11-21T12:00:00.123Z",
        "livemode": livemode,
        "reason": {"type": "request", "request": {"id": "req_1", "idempotency_key": "key"}},
        "related_object": RELATED,
        "snapshot_event": "evt_1",
        "type": "v1.billing.meter.updated",
    }


@pytest.mark.parametrize(
    ("before", "after", "previous"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, {}),
        ({"a": 1, "b": 2}, {"a": 3, "b": 2}, {"a": 1}),
        ({"a": None}, {"a": 1}, {"a": None}),
        ({}, {"a": 1}, {"a": None}),
        ({"a": 1}, {}, {"a": 1}),
        (
            {"m": {"x": "1", "y": "2"}},
            {"m": {"x": "1", "y": "3", "z": "4"}},
            {"m": {"y": "2", "z": None}},
        ),
        ({"m": {"x": "1"}}, {"m": {}}, {"m": {"x": "1"}}),
        ({"m": {"x": "1"}}, {"m": None}, {"m": {"x": "1"}}),
        ({"l": [1, 2]}, {"l": [1]}, {"l": [1, 2]}),
    ],
)
def test_previous_attributes(
    before: dict[str, Any], after: dict[str, Any], previous: dict[str, Any]
) -> None:
    assert previous_attributes(before, after) == previous


hashes = st.dictionaries(
    st.sampled_from("abc"),
    st.integers(0, 2) | st.dictionaries(st.sampled_from("xy"), st.integers(0, 2)),
)


@given(hashes, hashes)
def test_there_are_previous_attributes_exactly_where_something_is_different(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    previous = previous_attributes(before, after)
    assert previous.keys() == {
        name for name in before | after if before.get(name) != after.get(name)
    }
