from decimal import Decimal

import pytest

from meterhouse.metering.activity import WINDOW, ActivityLine, gather
from tests.metering.rows import AcceptedEvent, RejectedEvent, accepted_columns, rejected_columns
from tests.metering.samples import NOW, event

START = NOW - NOW % WINDOW


def lines_of(outcome: str, *received: tuple[int, int, str]) -> list[ActivityLine]:
    """Gather events of so many scopes, instants and meters."""
    accepted = accepted_columns(
        [
            AcceptedEvent(1, event(scope=scope, received_at=at), meter, "cus_1", Decimal(1))
            for scope, at, meter in received
        ]
    )
    return gather(accepted.events, accepted.meters, outcome)


@pytest.mark.parametrize("outcome", ["accepted", "duplicate"])
def test_nothing_comes_to_nothing(outcome: str) -> None:
    assert lines_of(outcome) == []


@pytest.mark.parametrize("outcome", ["accepted", "duplicate"])
def test_events_are_told_apart_by_scope_window_and_meter(outcome: str) -> None:
    assert lines_of(
        outcome,
        (1, START + WINDOW - 1, "mtr_1"),
        (1, START, "mtr_1"),
        (1, START + 5, "mtr_1"),
        (1, START + WINDOW, "mtr_1"),
        (1, START, "mtr_2"),
        (2, START, "mtr_1"),
    ) == [
        ActivityLine(1, START, "mtr_1", outcome, "", 3, START + WINDOW - 1),
        ActivityLine(1, START, "mtr_2", outcome, "", 1, START),
        ActivityLine(1, START + WINDOW, "mtr_1", outcome, "", 1, START + WINDOW),
        ActivityLine(2, START, "mtr_1", outcome, "", 1, START),
    ]


def test_rejected_events_also_by_code() -> None:
    sent = [("a", "mtr_1"), ("b", "mtr_1"), ("b", "mtr_1"), ("b", None)]
    rejected = rejected_columns(
        [RejectedEvent(1, event(received_at=START), of, code, "No.") for code, of in sent]
    )
    assert gather(rejected.events, rejected.meters, "rejected", rejected.codes) == [
        ActivityLine(1, START, "", "rejected", "b", 1, START),
        ActivityLine(1, START, "mtr_1", "rejected", "a", 1, START),
        ActivityLine(1, START, "mtr_1", "rejected", "b", 2, START),
    ]
