from decimal import Decimal

import msgspec

from meterhouse.metering.model import MeterEvent
from meterhouse.metering.resend import Plan, Replacement, received_last
from meterhouse.metering.search import EventSearch, FoundEvent
from tests.metering.samples import NOW, SCOPE

REJECTED = FoundEvent(
    position=7,
    outcome="rejected",
    meter="",
    customer="",
    event_name="cals",
    identifier="a",
    timestamp=NOW - 5,
    received_at=NOW,
    value=Decimal(1),
    payload={"value": "1", "note": "x"},
    code="no_meter",
    message="Why.",
)


def plan(**replacement: object) -> Plan:
    made = msgspec.convert(replacement, Replacement)
    return Plan(search=EventSearch(scope=SCOPE), replacement=made, whole=True)


def test_an_event_keeps_what_is_not_replaced() -> None:
    payload = {"value": "1", "note": "x"}
    expected = MeterEvent(1, "a", "cals", NOW - 5, NOW + 9, payload, None, True, 3)
    assert plan().event(REJECTED, NOW + 9, 3) == expected


def test_what_is_replaced() -> None:
    made = plan(event_name="calls", timestamp=NOW - 1, payload={"value": "2"})
    sent = made.event(REJECTED, NOW + 9, None)
    assert (sent.event_name, sent.timestamp) == ("calls", NOW - 1)
    assert sent.payload == {"value": "2", "note": "x"}
    assert sent.identifier == "a"


def test_a_plan_can_be_written_down() -> None:
    made = plan(payload={"value": "2"})
    assert msgspec.convert(msgspec.to_builtins(made), Plan) == made


def test_of_one_identifier_the_event_received_last_is_resent() -> None:
    newer = msgspec.structs.replace(REJECTED, position=9)
    other = msgspec.structs.replace(REJECTED, position=8, identifier="b")
    assert received_last([REJECTED, other, newer], {"a": 9, "b": 8}) == [other, newer]
    assert received_last([REJECTED], {"a": 9}) == []
