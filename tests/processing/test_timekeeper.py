import asyncio
import logging

import pytest

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.ledger import timekeeping
from meterhouse.ledger.timekeeping import Timekeeping
from meterhouse.processing.timekeeper import Timekeeper, advance
from tests.metering.samples import DAY, HOUR, NOW
from tests.pipeline import Pipeline

APART = limits.CLOCK_APART_MINUTES_MAX * 60_000
DOUBT = limits.CLOCK_DOUBT_HOURS * HOUR
LOOK = limits.CLOCK_LOOK_SECONDS * 1000
FAR = 180 * DAY


def known(reached: int = 0, doubted: int = 0, furthest: int = 0) -> Timekeeping:
    return Timekeeping(NOW + reached, NOW + max(reached, furthest), doubted)


@pytest.mark.parametrize(
    ("before", "now", "passed", "after"),
    [
        (None, 0, 0, known()),
        # Together with the clock.
        (known(), 0, 0, known()),
        (known(), LOOK, LOOK, known(LOOK)),
        (known(), APART, 0, known(APART)),
        (known(), LOOK + APART, LOOK, known(LOOK + APART)),
        # The clock is ahead.
        (known(), APART + 1, 0, known(0, 1)),
        (known(), LOOK + APART + 1, LOOK, known(LOOK, LOOK)),
        (known(LOOK, LOOK), FAR, LOOK, known(2 * LOOK, 2 * LOOK)),
        (known(0, DOUBT - LOOK - 1), FAR, LOOK, known(LOOK, DOUBT - 1)),
        # It has been so for long enough.
        (known(0, DOUBT - LOOK), FAR, LOOK, known(FAR)),
        # It has come back.
        (known(0, DOUBT - 1), 0, LOOK, known()),
        (known(0, DOUBT - 1), LOOK + APART, LOOK, known(LOOK + APART)),
        # It is behind.
        (known(), -1, LOOK, known()),
        (known(), -FAR, LOOK, known()),
        (known(0, DOUBT - 1), -FAR, LOOK, known()),
        # The operator has set time back before.
        (known(0, 0, FAR), LOOK, LOOK, known(LOOK, 0, FAR)),
    ],
)
def test_what_a_look_makes_known(
    before: Timekeeping | None, now: int, passed: int, after: Timekeeping
) -> None:
    assert advance(before, NOW + now, passed) == after


@pytest.mark.parametrize(
    ("jump", "now", "behind"),
    [
        (0, 0, False),
        (APART, APART, False),
        (APART + 1, APART, False),
        (FAR, APART, False),
        (-APART, -APART, False),
        (-APART - 1, -APART - 1, True),
        (-FAR, -FAR, True),
    ],
)
def test_a_clock_that_jumps_is_late_rather_than_wrong(
    pipeline: Pipeline, jump: int, now: int, behind: bool
) -> None:
    """Given a jump, then it is found at once, and a look and a restart change nothing."""
    clock = ManualClock(NOW)
    timekeeper = Timekeeper(pipeline.stores, clock)
    assert (timekeeper.now(), timekeeper.behind()) == (NOW, None)
    asyncio.run(timekeeper.open())
    clock.advance(jump)
    again = Timekeeper(pipeline.stores, clock)
    asyncio.run(again.open())
    for one in (timekeeper, again):
        assert one.now() == NOW + now
        assert (one.behind() is not None) == behind
        asyncio.run(one.look())
    assert timekeeper.now() == NOW + now


@pytest.mark.parametrize("jump", [FAR, -FAR])
def test_the_operator_settles_it(pipeline: Pipeline, jump: int) -> None:
    clock = ManualClock(NOW)
    timekeeper = Timekeeper(pipeline.stores, clock)

    async def body() -> None:
        await timekeeper.open()
        clock.advance(jump)
        await pipeline.stores.write(timekeeping.settle, clock.now())
        await timekeeper.look()

    asyncio.run(body())
    assert (timekeeper.now(), timekeeper.behind()) == (NOW + jump, None)
    with pipeline.stores._ledger.read() as connection:
        assert timekeeping.read(connection) == Timekeeping(NOW + jump, NOW + max(jump, 0), 0)


@pytest.mark.parametrize(
    ("jump", "level", "says"),
    [
        (2 * DAY, logging.WARNING, "Nothing that is kept for some time is dropped by it"),
        (HOUR, logging.INFO, "Nothing that is kept for some time is dropped by it"),
        (-HOUR, logging.WARNING, "run `meterhouse clock accept`"),
    ],
)
def test_the_log_says_so_once(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, jump: int, level: int, says: str
) -> None:
    caplog.set_level(logging.INFO, "meterhouse.clock")
    clock = ManualClock(NOW)
    timekeeper = Timekeeper(pipeline.stores, clock)

    async def body() -> None:
        await timekeeper.open()
        clock.advance(jump)
        for _ in range(3):
            await timekeeper.look(LOOK)
        clock.advance(-jump)
        for _ in range(2):
            await timekeeper.look(LOOK)

    asyncio.run(body())
    told, believed = caplog.records
    assert told.levelno == level
    assert says in told.message
    assert believed.message.startswith("The clock is believed again")
