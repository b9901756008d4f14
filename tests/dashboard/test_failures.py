from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.dashboard.failures import Failures

HOUR = 3_600_000
TOTAL, OF_ONE = limits.SIGN_IN_NOTED_ATTEMPTS_MAX, limits.SIGN_IN_ADDRESS_NOTED_ATTEMPTS_MAX


def test_so_many_are_noted_of_one_address_and_the_others_are_counted() -> None:
    failures = Failures(ManualClock(0))
    answers = [failures.count(f"2001:db8::{number}") for number in range(OF_ONE + 7)]
    assert answers == [0] * OF_ONE + [None] * 7  # of one /64
    assert failures.count("192.0.2.1") == 7
    assert failures.count("192.0.2.1") == 0


def test_so_many_are_noted_in_an_hour_whoever_they_are_of() -> None:
    clock = ManualClock(5 * HOUR)
    failures = Failures(clock)
    answers = [failures.count(f"192.0.{number}.1") for number in range(TOTAL + 30)]
    assert answers == [0] * TOTAL + [None] * 30
    assert len(failures._noted) == TOTAL
    clock.advance(HOUR)
    assert failures.count("192.0.0.1") == 30
