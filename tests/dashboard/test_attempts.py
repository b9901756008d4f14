import asyncio
import sys

import pytest

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.dashboard.attempts import Attempts, TooManyError
from tests.dashboard.samples import at

SECOND = 1_000
MINUTE = 60 * SECOND
WINDOW = limits.SIGN_IN_WINDOW_MINUTES * MINUTE
HERE, NAME = limits.SIGN_IN_HERE_ATTEMPTS, limits.SIGN_IN_NAME_ATTEMPTS
ADDRESS = limits.SIGN_IN_ADDRESS_ATTEMPTS
HELD = limits.SIGN_IN_HELD_SECONDS_MAX


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(at("2026-11-21"))


@pytest.fixture
def attempts(clock: ManualClock) -> Attempts:
    made = Attempts(clock)
    made._key = b"k" * 32  # so that the same ones share a place in every run
    return made


def wait(
    attempts: Attempts, name: str = "ada", client: str = "10.0.0.1", known: str | None = None
) -> float | str:
    """Return the seconds that an attempt waits; a text with those after which it may come again."""
    try:
        return attempts.count(name, client, known).wait / SECOND
    except TooManyError as refused:
        return f"refused for {refused.seconds} s"


def patient(clock: ManualClock, attempts: Attempts, count: int, client: str) -> list[float]:
    """Try one name from an address, each time as soon as it may be; return how long that takes."""
    took = []
    for _ in range(count):
        began = clock.now()
        while isinstance(waited := wait(attempts, client=client), str):
            clock.advance(SECOND)
        clock.advance(int(waited * SECOND))
        took.append((clock.now() - began) / SECOND)
    return took


def test_who_goes_on_guessing_waits_longer_each_time(
    clock: ManualClock, attempts: Attempts
) -> None:
    longest = [float(limits.SIGN_IN_HERE_SECONDS_MAX)] * 3
    waits = [0.0] * HERE + [1.0, 2, 4, 8, 16, 32, 64, 128, *longest]
    assert patient(clock, attempts, len(waits), "10.0.0.1") == waits


def test_attempts_at_the_same_time_stand_in_line(attempts: Attempts) -> None:
    """Those that would wait too long are told so, and make the line no longer."""
    assert [wait(attempts) for _ in range(HERE + 1)] == [0] * HERE + [1]
    assert [wait(attempts) for _ in range(3)] == [3, 7, 15]
    assert {wait(attempts) for _ in range(100)} == {"refused for 31 s"}
    assert wait(attempts, client="10.0.0.2") == 0


def test_names_that_nobody_has_make_no_count_forgotten(
    clock: ManualClock, attempts: Attempts
) -> None:
    patient(clock, attempts, HERE, "10.0.0.1")
    for number in range(20_000):
        wait(attempts, f"name {number}", f"10.{number // 65_536}.{number // 256}.{number % 256}")
    assert wait(attempts) != 0


def test_guesses_from_everywhere_wait_too(clock: ManualClock, attempts: Attempts) -> None:
    """A name of a thousand addresses is guessed no more often than once a minute in the end."""
    found = [wait(attempts, client=f"10.0.{n // 256}.{n % 256}") for n in range(1_000)]
    made = [waited for waited in found if not isinstance(waited, str)]
    assert made == [0] * NAME + [1, 3, 7, 15]
    clock.advance(31 * SECOND)
    for number in range(10):
        assert wait(attempts, client=f"10.1.0.{number}") == 0
        clock.advance(limits.SIGN_IN_NAME_SECONDS_MAX * SECOND)
    assert wait(attempts, client="10.1.1.1") == 0
    assert wait(attempts, "bob", "10.1.1.1") == 0


def test_fifty_strangers_at_an_address_close_it_to_nobody(attempts: Attempts) -> None:
    for number in range(ADDRESS):
        assert wait(attempts, f"name {number}") == 0
    assert [wait(attempts), wait(attempts, "bob")] == [1, 3]
    assert wait(attempts, client="10.0.0.2") == 0


def test_an_address_of_version_6_is_a_network(attempts: Attempts) -> None:
    for number in range(HERE):
        assert wait(attempts, client=f"2001:db8:1:2::{number}") == 0
    assert wait(attempts, client="2001:db8:1:2:ffff::") == 1
    assert wait(attempts, client="2001:db8:1:3::") == 0


def test_what_others_tried_does_not_hold_up_a_browser_that_is_known(attempts: Attempts) -> None:
    for number in range(ADDRESS + 20):
        wait(attempts, "ada", f"10.0.0.{number}")
        wait(attempts, f"name {number}", "10.0.0.1")
        wait(attempts, "ada", "10.0.0.1")
    assert wait(attempts) != 0
    known = [wait(attempts, known="hers") for _ in range(HERE + 1)]
    assert known == [0] * HERE + [1]
    assert wait(attempts, known="his") == 0


def test_who_was_right_is_held_up_by_nothing_of_it(attempts: Attempts) -> None:
    for _ in range(10 * ADDRESS):
        attempt = attempts.count("ada", "10.0.0.1", None)
        assert attempt.wait == 0
        attempt.forgive()


def test_who_was_right_takes_nothing_back_of_others(attempts: Attempts) -> None:
    for number in range(ADDRESS):
        wait(attempts, f"name {number}")
    eve = attempts.count("eve", "10.0.0.1", None)
    eve.forgive()
    assert wait(attempts, "name 1") != 0


@pytest.mark.parametrize(("passed", "waited"), [(WINDOW - 1, 1), (WINDOW, 0)])
def test_attempts_are_forgotten_some_time_after_the_last(
    clock: ManualClock, attempts: Attempts, passed: int, waited: int
) -> None:
    patient(clock, attempts, HERE, "10.0.0.1")
    clock.advance(SECOND + passed)
    assert wait(attempts) == 0
    assert wait(attempts) == waited * 2


def test_attempts_of_a_clock_that_was_ahead_are_forgotten(
    clock: ManualClock, attempts: Attempts
) -> None:
    clock.advance(1000 * WINDOW)
    patient(clock, attempts, HERE + 8, "10.0.0.1")
    clock.advance(-1000 * WINDOW)
    assert wait(attempts) == 0


def test_memory_is_the_same_whoever_tries(attempts: Attempts) -> None:
    tables = (attempts._here, attempts._named, attempts._from, attempts._known)

    def size() -> int:
        return sum(sys.getsizeof(one) for table in tables for one in (table._counts, table._next))

    before = size()
    for number in range(1_000):
        wait(attempts, "x" * number, f"address {number}", f"browser {number}")
    assert size() == before < 4 * 1_048_576


@pytest.mark.parametrize("known", [None, "hers"])
def test_a_line_has_an_end_and_one_password_is_checked_at_a_time(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, known: str | None
) -> None:
    monkeypatch.setattr(limits, "SIGN_IN_WAITING_MAX", 3)

    async def work() -> None:
        checking, checked, more = 0, 0, asyncio.Event()

        async def check() -> None:
            nonlocal checking, checked
            async with attempts.turn("ada", "10.0.0.1", known):
                checking += 1
                assert checking == 1
                await more.wait()
                checking -= 1
                checked += 1

        tasks = [asyncio.create_task(check()) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyError):
            await check()
        async with attempts.turn("ada", "10.0.0.1", None if known else "hers"):
            more.set()
        await asyncio.gather(*tasks)
        assert checked == 3

    asyncio.run(work())


def test_nobody_waits_for_a_server_that_stops(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SIGN_IN_FIRST_WAIT_MILLISECONDS", HELD * SECOND)

    async def work() -> None:
        for _ in range(HERE):
            attempts.count("ada", "10.0.0.1", None)

        async def check() -> None:
            async with attempts.turn("ada", "10.0.0.1", None):
                pytest.fail("it did not wait")

        task = asyncio.create_task(check())
        await asyncio.sleep(0)
        assert not task.done()
        attempts.end()
        with pytest.raises(TooManyError):
            await task

    asyncio.run(work())
