from meterhouse.metering.activity import WINDOW, ActivityLine, gather
from meterhouse.metering.model import MeterEvent, RejectedEvent
from tests.metering.samples import NOW, event

START = NOW - NOW % WINDOW


def received(at: int, scope: int = 1) -> MeterEvent:
    return event(scope=scope, received_at=at)


def refused(at: int, code: str, meter: str | None = "mtr_1") -> RejectedEvent:
    return RejectedEvent(1, received(at), meter, code, "No.")


def test_nothing_comes_to_nothing() -> None:
    assert gather({}, {}, []) == []


def test_events_are_told_apart_by_scope_window_meter_and_outcome() -> None:
    lines = gather(
        {
            (1, START, "mtr_1"): 1,
            (1, START + WINDOW - 1, "mtr_1"): 1,
            (1, START + 5, "mtr_1"): 2,
            (1, START + WINDOW, "mtr_1"): 1,
            (1, START, "mtr_2"): 1,
            (2, START, "mtr_1"): 1,
        },
        {(1, START + 7, "mtr_1"): 1},
        [refused(START, "a"), refused(START, "b"), refused(START, "b"), refused(START, "b", None)],
    )
    assert lines == [
        ActivityLine(1, START, "mtr_1", "accepted", "", 4, START + WINDOW - 1),
        ActivityLine(1, START + WINDOW, "mtr_1", "accepted", "", 1, START + WINDOW),
        ActivityLine(1, START, "mtr_2", "accepted", "", 1, START),
        ActivityLine(2, START, "mtr_1", "accepted", "", 1, START),
        ActivityLine(1, START, "mtr_1", "duplicate", "", 1, START + 7),
        ActivityLine(1, START, "mtr_1", "rejected", "a", 1, START),
        ActivityLine(1, START, "mtr_1", "rejected", "b", 2, START),
        ActivityLine(1, START, "", "rejected", "b", 1, START),
    ]
