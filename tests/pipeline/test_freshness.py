import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.pipeline.freshness import Freshness


@dataclass
class Journal:
    """The stores and the processor, as far as they matter here."""

    last: int = 0
    stored_position: int = 0
    settles: bool = True
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, _: Any) -> int:
        self.asked.set()
        return self.last

    async def settle(self, _: float) -> bool:
        if self.settles:
            self.stored_position = self.last
        return self.settles


def fresh(journal: Journal, clock: ManualClock) -> Freshness:
    return Freshness(cast("Any", journal), cast("Any", journal), clock)


def reach(freshness: Freshness, *, strong: bool = False) -> tuple[bool, int]:
    return asyncio.run(freshness.reach(strong=strong))


def test_when_everything_is_stored_it_is_the_present() -> None:
    clock = ManualClock(1_000)
    freshness = fresh(Journal(7, 7), clock)
    assert reach(freshness) == (False, 1_000)
    clock.advance(500)
    assert reach(freshness, strong=True) == (True, 1_500)


def test_it_stays_until_what_was_given_out_is_stored() -> None:
    clock, journal = ManualClock(1_000), Journal(7, 7)
    freshness = fresh(journal, clock)
    assert reach(freshness) == (False, 1_000)
    for last in (8, 9):
        clock.advance(1_000)
        journal.last = last
        assert reach(freshness) == (False, 1_000)
    journal.stored_position = 8
    clock.advance(1_000)
    assert reach(freshness) == (False, 2_000)


def test_a_strong_reader_waits() -> None:
    clock, journal = ManualClock(1_000), Journal(7, 3)
    freshness = fresh(journal, clock)
    assert reach(freshness) == (False, 0)
    assert reach(freshness, strong=True) == (True, 1_000)
    journal.last, journal.settles = 8, False
    clock.advance(1_000)
    assert reach(freshness, strong=True) == (False, 1_000)


def test_what_is_under_way_may_be_missing() -> None:
    """The oldest request decides: it may have its position later than any other."""
    clock = ManualClock(1_000)
    freshness = fresh(Journal(), clock)
    with freshness.receiving(400):
        with freshness.receiving(700):
            assert reach(freshness) == (False, 400)
        assert reach(freshness) == (False, 400)
    assert reach(freshness) == (False, 1_000)


def test_looks_do_not_pile_up() -> None:
    clock, journal = ManualClock(0), Journal(1, 0)
    freshness = fresh(journal, clock)
    for _ in range(limits.FRESHNESS_LOOKS_KEPT + 10):
        clock.advance(1)
        reach(freshness)
    assert len(freshness._looks) == limits.FRESHNESS_LOOKS_KEPT
    journal.stored_position = 1
    assert reach(freshness) == (False, limits.FRESHNESS_LOOKS_KEPT + 10)


def test_it_looks_by_itself() -> None:
    async def run() -> int:
        journal = Journal(1, 0)
        freshness = fresh(journal, ManualClock(1_000))
        freshness.start()
        await asyncio.wait_for(journal.asked.wait(), 5)
        await freshness.stop()
        journal.stored_position = 1
        return freshness._passed()

    assert asyncio.run(run()) == 1_000
