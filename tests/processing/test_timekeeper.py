import asyncio
import logging
from contextlib import ExitStack

import pytest

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.ledger import deliveries, timekeeping
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.timekeeping import Timekeeping
from meterhouse.processing.timekeeper import Timekeeper, advance
from meterhouse.stores import Stores
from tests.metering.samples import DAY, HOUR, NOW
from tests.pipeline import Pipeline
from tests.postgresql import PostgreSQL

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


class Node:
    """A process that shares a ledger on PostgreSQL, and its clock."""

    def __init__(self, url: str, opened: ExitStack, ahead: int = 0) -> None:
        self.ledger = opened.enter_context(open_ledger(url))
        self.stores = Stores(self.ledger, lambda *_: None)
        opened.callback(self.stores.close)
        self.timekeeper = Timekeeper(self.stores, ManualClock(NOW + ahead))

    def known(self) -> Timekeeping:
        with self.ledger.read() as connection:
            known = timekeeping.read(connection)
        assert known is not None
        return known


def test_a_clock_that_one_process_doubts_moves_nothing_on_for_the_others(
    postgresql_server: PostgreSQL,
) -> None:
    """Given one whose clock is far ahead, then time goes as fast as it does for the other one."""
    with ExitStack() as opened:
        url = postgresql_server.blank()
        right, wrong = Node(url, opened), Node(url, opened, FAR)

        async def look() -> None:
            await right.timekeeper.open()
            await wrong.timekeeper.open()
            for _ in range(50):
                await wrong.timekeeper.look(LOOK)
            await right.timekeeper.look(LOOK)

        asyncio.run(look())
        assert right.known().reached < NOW + 10 * LOOK
        assert right.known().doubted_ms == 0
        assert right.timekeeper.behind() is None
        assert wrong.timekeeper.now() < NOW + APART + 10 * LOOK


def test_who_goes_with_the_time_recalls_nothing_that_another_process_has_put_off(
    postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each of its looks would do so, whatever the deliveries wait for."""
    recalled: list[int] = []
    monkeypatch.setattr(deliveries, "recall", lambda _, now: recalled.append(now))
    with ExitStack() as opened:
        url = postgresql_server.blank()
        right, wrong = Node(url, opened), Node(url, opened, FAR)
        clock = wrong.timekeeper._clock
        assert isinstance(clock, ManualClock)

        async def look() -> None:
            await right.timekeeper.open()
            await wrong.timekeeper.open()
            for _ in range(3):
                await right.timekeeper.look(LOOK)
                await wrong.timekeeper.look(LOOK)
            assert recalled == []
            clock.set(NOW)
            await wrong.timekeeper.look(LOOK)
            await wrong.timekeeper.look(LOOK)

        asyncio.run(look())
        assert recalled == [NOW]


def test_looks_of_several_processes_never_take_time_back(postgresql_server: PostgreSQL) -> None:
    with ExitStack() as opened:
        url = postgresql_server.blank()
        nodes = [Node(url, opened, ahead) for ahead in (0, APART // 2, APART // 4)]

        async def look(node: Node) -> list[int]:
            await node.timekeeper.open()
            reached = []
            for _ in range(20):
                await node.timekeeper.look(1)
                reached.append(node.known().reached)
            return reached

        async def all_look() -> list[list[int]]:
            return await asyncio.gather(*map(look, nodes))

        for reached in asyncio.run(all_look()):
            assert reached == sorted(reached)
        assert nodes[0].known().reached == NOW + APART // 2
