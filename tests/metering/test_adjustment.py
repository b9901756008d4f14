import pytest

from meterhouse.metering.adjustment import cancellable
from tests.metering.samples import at


@pytest.mark.parametrize(
    ("received_at", "now", "answer"),
    [
        ("3 10:00", "3 10:00", True),
        ("3 10:00", "4 09:59:59.999", True),
        ("3 10:00", "4 10:00", True),
        ("3 10:00", "4 10:00:00.001", False),
        ("3 10:00", "9 10:00", False),
        ("3 10:00", "3 09:59", True),  # the clock was set back
    ],
)
def test_an_event_may_be_cancelled_for_a_day(received_at: str, now: str, answer: bool) -> None:
    assert cancellable(at(received_at), at(now)) is answer
