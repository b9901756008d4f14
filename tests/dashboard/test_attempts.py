import pytest

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.dashboard.attempts import Attempts
from tests.dashboard.samples import at

MINUTE = 60_000
WINDOW = limits.SIGN_IN_WINDOW_MINUTES * MINUTE
NAME, ADDRESS = limits.SIGN_IN_ATTEMPTS_MAX, limits.SIGN_IN_ADDRESS_ATTEMPTS_MAX


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(at("2026-11-21"))


@pytest.fixture
def attempts(clock: ManualClock) -> Attempts:
    return Attempts(clock)


def admitted(attempts: Attempts, count: int, name: str = "ada", ip: str = "10.0.0.1") -> int:
    return sum(attempts.admit(name, ip) for _ in range(count))


def test_a_name_has_so_many_attempts_from_whatever_address(attempts: Attempts) -> None:
    found = [attempts.admit("ada", f"10.0.0.{number}") for number in range(NAME + 2)]
    assert found == [True] * NAME + [False] * 2
    assert attempts.admit("bob", "10.0.0.1")


def test_an_address_has_so_many_attempts_with_whatever_names(attempts: Attempts) -> None:
    found = [attempts.admit(f"name {number}", "10.0.0.1") for number in range(ADDRESS + 2)]
    assert found == [True] * ADDRESS + [False] * 2
    assert attempts.admit("ada", "10.0.0.2")


def test_a_name_that_is_an_address_is_counted_apart(attempts: Attempts) -> None:
    assert admitted(attempts, NAME + 1, name="10.0.0.1") == NAME
    assert attempts.admit("ada", "10.0.0.1")


def test_the_window_begins_with_the_first_attempt(clock: ManualClock, attempts: Attempts) -> None:
    assert admitted(attempts, NAME - 1) == NAME - 1
    clock.advance(WINDOW - 1)
    assert admitted(attempts, 2) == 1
    clock.advance(1)
    assert admitted(attempts, NAME + 1) == NAME


def test_attempts_that_were_refused_make_the_wait_no_longer(
    clock: ManualClock, attempts: Attempts
) -> None:
    admitted(attempts, NAME)
    for _ in range(limits.SIGN_IN_WINDOW_MINUTES - 1):
        clock.advance(MINUTE)
        assert not attempts.admit("ada", "10.0.0.1")
    clock.advance(MINUTE)
    assert attempts.admit("ada", "10.0.0.1")


def test_signing_in_gives_back_those_of_the_name_only(attempts: Attempts) -> None:
    while attempts.admit("ada", "10.0.0.1"):
        attempts.forgive("ada")
    attempts.forgive("ada")
    assert not attempts.admit("ada", "10.0.0.1")
    assert admitted(attempts, NAME + 1, ip="10.0.0.2") == NAME - 1


def test_a_name_that_never_tried_can_be_forgiven(attempts: Attempts) -> None:
    attempts.forgive("ada")
    assert attempts.admit("ada", "10.0.0.1")


def test_as_many_are_remembered_as_may_be_those_that_tried_last(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SIGN_IN_KEYS_MAX", 6)
    admitted(attempts, NAME)
    attempts.admit("bob", "10.0.0.2")
    assert not attempts.admit("ada", "10.0.0.1")
    attempts.admit("eve", "10.0.0.3")
    attempts.admit("joe", "10.0.0.4")  # forgets bob, who tried longest ago
    assert not attempts.admit("ada", "10.0.0.1")
    assert len(attempts._counts) == 6
    for number in range(3):
        attempts.admit(f"name {number}", "10.0.0.9")
    assert "name bob" not in attempts._counts


def test_attempts_of_a_clock_that_was_ahead_are_forgotten(
    clock: ManualClock, attempts: Attempts
) -> None:
    clock.advance(1000 * WINDOW)
    assert admitted(attempts, NAME + 1) == NAME
    clock.advance(-1000 * WINDOW)
    assert admitted(attempts, NAME + 1) == NAME
