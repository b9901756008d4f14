import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.ledger import deliveries, timekeeping
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.tables import timekeeping as timekeeping_table
from meterhouse.ledger.timekeeping import Timekeeping
from meterhouse.processing.timekeeper import Timekeeper, advance
from meterhouse.stores import Stores
from tests.blank import blank_ledger
from tests.metering.samples import DAY, HOUR, NOW
from tests.pipeline import Pipeline
from tests.postgresql import PostgreSQL

APART = limits.CLOCK_APART_MINUTES_MAX * 60_000
DOUBT = limits.CLOCK_DOUBT_HOURS * HOUR
LOOK = limits.CLOCK_LOOK_SECONDS * 1000
FAR = 180 * DAY


HALF_A_DAY = 12 * HOUR
HALF_AN_HOUR = HOUR // 2  # a 24th of it


def known(
    reached: int = 0, doubted: int = 0, furthest: int = 0, *, jumped: bool | None = None
) -> Timekeeping:
    jumped = doubted > 0 if jumped is None else jumped
    return Timekeeping(NOW + reached, NOW + max(reached, furthest), doubted, jumped)


class Node:
    """A process and its clock; on PostgreSQL it shares its ledger."""

    def __init__(self, url: str, opened: ExitStack, ahead: int = 0) -> None:
        self.ledger = opened.enter_context(open_ledger(url))
        self.stores = Stores(self.ledger, lambda *_: None)
        opened.callback(self.stores.close)
        self.clock = ManualClock(NOW + ahead, boot=f"that is {ahead} ahead")
        self.timekeeper = Timekeeper(self.stores, self.clock)

    async def look(self, passed: int) -> None:
        """Let some time pass on this machine alone, and look."""
        self.clock.let_pass(passed)
        self.clock.advance(-passed)
        await self.timekeeper.look()

    def known(self) -> Timekeeping:
        with self.ledger.read() as connection:
            known = timekeeping.read(connection)
        assert known is not None
        return known


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Node]:
    """Give a process that has a ledger on SQLite."""
    with ExitStack() as opened:
        yield Node(blank_ledger(tmp_path), opened)


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
        # It stood still, and so did nobody else.
        (known(), HOUR, HOUR, known(HOUR)),
        (known(), FAR, FAR, known(FAR)),
        (known(0, DOUBT - 1), HOUR, HOUR, known(HOUR)),
        (known(), FAR, HOUR, known(HOUR, 2 * LOOK)),
        # Nobody knows for how long: it was off, and has booted since.
        (known(), APART, None, known(APART)),
        (known(), HALF_A_DAY, None, known(0, 1, jumped=False)),
        (
            known(0, 1, jumped=False),
            HALF_A_DAY + LOOK,
            LOOK,
            known(LOOK, LOOK + 1, jumped=False),
        ),
        (
            known(0, HALF_AN_HOUR - LOOK - 1, jumped=False),
            HALF_A_DAY + LOOK,
            LOOK,
            known(LOOK, HALF_AN_HOUR - 1, jumped=False),
        ),
        (
            known(0, HALF_AN_HOUR - LOOK, jumped=False),
            HALF_A_DAY + LOOK,
            LOOK,
            known(HALF_A_DAY + LOOK),
        ),
        # Then it jumps, so its doubt lasts the longer.
        (
            known(0, HALF_AN_HOUR - LOOK, jumped=False),
            FAR,
            LOOK,
            known(LOOK, HALF_AN_HOUR, jumped=False),
        ),
        (known(0, DOUBT - LOOK - 1, jumped=False), FAR, LOOK, known(LOOK, DOUBT - 1, jumped=False)),
        # It is known to have jumped, and boots.
        (known(0, LOOK), HALF_A_DAY, None, known(0, LOOK + 1)),
        # The operator has set time back before.
        (known(0, 0, FAR), LOOK, LOOK, known(LOOK, 0, FAR)),
    ],
)
def test_what_a_look_makes_known(
    before: Timekeeping | None, now: int, passed: int | None, after: Timekeeping
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


@pytest.mark.parametrize("off", [HOUR, 9 * DAY, FAR])
@pytest.mark.parametrize("running", [True, False])
def test_a_standstill_is_no_jump(alone: Node, off: int, running: bool) -> None:
    """Given a machine that was asleep, or a server that was off, then nothing is late."""
    timekeeper = alone.timekeeper
    asyncio.run(timekeeper.open())
    alone.clock.let_pass(off)
    if running:
        asyncio.run(timekeeper.look())
    else:
        timekeeper = Timekeeper(alone.stores, alone.clock)
        asyncio.run(timekeeper.open())
    assert timekeeper.now() == NOW + off
    assert alone.known() == Timekeeping(NOW + off, NOW + off)
    alone.clock.advance(HOUR)
    assert timekeeper.now() == NOW + off + APART
    asyncio.run(timekeeper.look())
    assert alone.known().jumped


@pytest.mark.parametrize("boot", ["another", ""])
def test_a_clock_after_a_boot_is_believed_soon(alone: Node, boot: str) -> None:
    """Given a machine that was off for twelve hours, then half an hour is enough, in two runs."""
    asyncio.run(alone.timekeeper.open())
    alone.clock.let_pass(HALF_A_DAY)
    alone.clock.reboot(boot)

    async def late(looks: int) -> int:
        timekeeper = Timekeeper(alone.stores, alone.clock)
        await timekeeper.open()
        for _ in range(looks):
            alone.clock.let_pass(LOOK)
            await timekeeper.look()
        return alone.clock.now() - timekeeper.now()

    half = HALF_AN_HOUR // LOOK // 2
    assert asyncio.run(late(half)) == HALF_A_DAY - APART
    assert asyncio.run(late(half)) == 0


def test_who_changed_the_machine_of_a_shared_ledger_asks_the_clock_of_the_database(
    postgresql_server: PostgreSQL,
) -> None:
    """Given nodes that were off, then one of another machine knows at once for how long."""
    with ExitStack() as opened:
        url = postgresql_server.blank()
        before, after = Node(url, opened), Node(url, opened, 3 * HOUR)
        jumped = Node(url, opened, FAR)
        asyncio.run(before.timekeeper.open())
        with before.ledger.write() as connection:
            ago = timekeeping_table.c.looked_at - 3 * HOUR
            connection.execute(sa.update(timekeeping_table).values(looked_at=ago))
        asyncio.run(after.timekeeper.open())
        assert after.timekeeper.now() == NOW + 3 * HOUR
        asyncio.run(jumped.timekeeper.open())
        assert jumped.timekeeper.now() < NOW + 4 * HOUR
        assert jumped.known().jumped


@pytest.mark.parametrize("jump", [FAR, -FAR])
def test_the_operator_settles_it(pipeline: Pipeline, jump: int) -> None:
    clock = ManualClock(NOW)
    timekeeper = Timekeeper(pipeline.stores, clock)

    async def body() -> None:
        await timekeeper.open()
        clock.advance(jump)
        await pipeline.stores.write(timekeeping.settle, clock.now(), clock.uptime())
        await timekeeper.look()

    asyncio.run(body())
    assert (timekeeper.now(), timekeeper.behind()) == (NOW + jump, None)
    with pipeline.stores._ledger.read() as connection:
        assert timekeeping.read(connection) == Timekeeping(NOW + jump, NOW + max(jump, 0))


@pytest.mark.parametrize(
    ("jump", "boots", "says"),
    [
        (2 * DAY, False, "it has jumped. If it is wrong"),
        (HOUR, False, "servers have run so for 24 h 0 min, or at once by"),
        (10 * DAY, True, "it has jumped, or the machine was off. If it is wrong"),
        (10 * DAY, True, "servers have run so for 10 h 0 min, or at once by"),
        (HOUR, True, "servers have run so for 0 h 3 min, or at once by"),
        (-HOUR, False, "run `meterhouse clock accept`"),
    ],
)
def test_the_log_says_so_once(
    alone: Node, caplog: pytest.LogCaptureFixture, jump: int, boots: bool, says: str
) -> None:
    caplog.set_level(logging.INFO, "meterhouse.clock")
    asyncio.run(alone.timekeeper.open())
    timekeeper = Timekeeper(alone.stores, alone.clock)

    async def looks() -> None:
        for _ in range(3):
            alone.clock.let_pass(LOOK)
            await timekeeper.look()

    async def body() -> None:
        alone.clock.advance(jump)
        if boots:
            alone.clock.reboot("another")
        await timekeeper.open()
        await looks()
        alone.clock.advance(-jump)
        await looks()

    asyncio.run(body())
    told, believed = caplog.records
    assert told.levelno == logging.WARNING
    assert says in told.message
    assert believed.message.startswith("The clock is believed again")


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
                await wrong.look(LOOK)
            await right.look(LOOK)

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

        async def look() -> None:
            await right.timekeeper.open()
            await wrong.timekeeper.open()
            for _ in range(3):
                await right.look(LOOK)
                await wrong.look(LOOK)
            assert recalled == []
            wrong.clock.set(NOW)
            await wrong.look(LOOK)
            await wrong.look(LOOK)

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
                await node.look(1)
                reached.append(node.known().reached)
            return reached

        async def all_look() -> list[list[int]]:
            return await asyncio.gather(*map(look, nodes))

        for reached in asyncio.run(all_look()):
            assert reached == sorted(reached)
        assert nodes[0].known().reached == NOW + APART // 2
