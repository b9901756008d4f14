"""Progress: how far what was acknowledged can be read.

Where one process accepts and processes, positions tell (`LocalProgress`, `processing.process`).
Where several do, each of them has positions of its own, and the clock of the database tells: the
owner of each partition publishes its `as_of`, up to which all that was committed is in the usage
store (`SharedProgress`). A reader that wants all that was acknowledged before looks at that clock
and waits until every partition has come so far.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.errors import StoreError
from meterhouse.ledger import blocks, journal, watermark
from meterhouse.ledger.watermark import Watermark
from meterhouse.processing.heartbeat import Heartbeat
from meterhouse.processing.partitions import Partitions
from meterhouse.processing.process import Backlog
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.progress")


class Look(NamedTuple):
    """What was acknowledged when somebody looked can be read once `passed` has come to `mark`.

    `oldest` is an instant before which no other process had received anything that it had not
    answered; None where there is no other.
    """

    mark: int
    oldest: int | None


class Progress(Protocol):
    """What a reader asks of whoever processes."""

    async def reach(self, *, strong: bool) -> bool:
        """Wait until a question may be answered; return if all that was acknowledged can be read.

        A `strong` one waits for all of it, any other for what was held back because nobody asked;
        `CONSISTENCY_WAIT_SECONDS_MAX` at most.
        """

    async def settle(self, seconds: float) -> bool:
        """Wait until all that was acknowledged before this call can be read; False if time is up.

        Whoever processes it hurries.
        """

    def wake(self) -> None:
        """Tell that the journal has something new."""


class Watched(Progress, Protocol):
    """Progress that can be looked at."""

    @property
    def passed(self) -> int:
        """The mark up to which everything can be read."""

    @property
    def busy(self) -> asyncio.Event:
        """Set while something may be on its way that nobody asks for."""

    async def look(self) -> Look:
        """Look at what was acknowledged up to now."""

    async def look_back(self) -> Look | None:
        """Look at what was acknowledged before this process began; None where nothing is left.

        `oldest` is when the first of what is in the journal was received, and all that is not in
        the journal can be read once `passed` has come to `mark`.
        """


class LocalProgress:
    """That of a processor in this process; marks are positions."""

    def __init__(self, stores: Stores, processor: Partitions) -> None:
        self._stores = stores
        self._processor = processor
        self.busy = processor.busy
        self.reach = processor.reach
        self.settle = processor.settle
        self.wake = processor.wake

    @property
    def passed(self) -> int:
        """The last position of which nothing up to it is missing."""
        return self._processor.stored_position

    async def look(self) -> Look:
        """Look at the last position."""
        return Look(await self._stores.read(journal.last_position), None)

    async def look_back(self) -> Look | None:
        """Look at what is left in the journal."""
        oldest = await self._stores.read(journal.oldest)
        if oldest is None:
            return None
        position, received_at = oldest
        return Look(position - 1, received_at)


class SharedProgress(Background):
    """That of the owners of all partitions; marks are instants of the database's clock.

    It looks once in a while at how much waits and who is there, and oftener while a reader waits.
    `ask` tells the owners that one does.
    """

    def __init__(
        self,
        stores: Stores,
        heartbeat: Heartbeat,
        backlog: Backlog,
        ask: Callable[[], None],
    ) -> None:
        super().__init__()
        self._stores = stores
        self._heartbeat = heartbeat
        self._backlog = backlog
        self._ask = ask
        self._moved = asyncio.Condition()
        self._asked = -math.inf  # when a reader waited last
        self._readers = 0
        self._watching: asyncio.Task[None] | None = None
        self.busy = asyncio.Event()
        self.busy.set()  # always, for others may accept something at any time
        self.passed = 0
        self.api_nodes = 1  # that answer at present, this one among them

    async def reach(self, *, strong: bool) -> bool:
        """Wait as `Progress` says. Where much waits it is worked at, and nothing is held back.

        Nothing is for a while after a question, either; so who asks often need not wait each time.
        Where nobody works nobody could be asked for what was held back.
        """
        seconds = limits.CONSISTENCY_WAIT_SECONDS_MAX
        if strong:
            return await self.settle(seconds)
        seen = await self._see()
        few = (
            seen.rows < limits.WATERMARK_JOURNAL_ROWS_MAX
            and seen.events < limits.PROCESS_HELD_EVENTS_MAX
        )
        behind = seen.backlog_events >= limits.PROCESS_BATCH_EVENTS_MAX
        if seen.rows and seen.workers and not behind:
            just_now = time.monotonic() - limits.PROCESS_ASKED_MILLISECONDS / 1000
            lag = 0 if few and self._asked < just_now else limits.PROGRESS_LAG_MILLISECONDS
            await self._waited(seen.now - lag, seconds)
        return False

    async def settle(self, seconds: float) -> bool:
        """Wait until all that was acknowledged before can be read; False if time is up."""
        return await self._waited((await self._see()).now, seconds)

    def wake(self) -> None:
        """Do nothing: the owners look by themselves."""

    async def look(self) -> Look:
        """Look at the clock and at what other nodes have under way."""
        seen = await self._see()
        return Look(seen.now, seen.oldest_under_way)

    async def look_back(self) -> Look:
        """Look at what is in the journal; wait until what was judged before is stored."""
        left = await self._stores.read(_left, self._heartbeat.node)
        while True:
            if not await self._stores.read(blocks.are_kept, left.tokens):
                return Look(0, left.oldest)
            await asyncio.sleep(limits.FRESHNESS_LOOK_MILLISECONDS / 1000)

    async def _run(self) -> None:
        while True:
            try:
                await self._count()
            except StoreError as error:
                log.debug("how far the partitions are is not known: %s", error)
            except Exception:
                log.exception("how far the partitions are could not be read")
            await asyncio.sleep(limits.PROGRESS_LOOK_SECONDS)

    async def _count(self) -> None:
        """Take up what waits at all nodes, and what this one has added meanwhile."""
        before = self._backlog.journal_events
        seen = await self._see()
        added = self._backlog.journal_events - before
        self._backlog.journal_events = seen.backlog_events + added
        self.api_nodes = max(seen.api_nodes, 1)

    async def _see(self) -> Watermark:
        seen = await self._stores.read(watermark.read, self._heartbeat.node)
        if seen.as_of <= seen.now:  # else that clock was set back, and it says nothing yet
            async with self._moved:
                self.passed = seen.as_of
                self._moved.notify_all()
        return seen

    async def _waited(self, mark: int, seconds: float) -> bool:
        """Wait until all partitions have come to a mark; False if time is up."""
        if self.passed >= mark:
            return True
        self._asked = time.monotonic()
        self._ask()
        self._readers += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.passed >= mark)
        except TimeoutError:
            return False
        finally:
            self._readers -= 1
        return True

    async def _watch(self) -> None:
        """Look again and again for those who wait."""
        try:
            while self._readers:
                try:
                    await self._see()
                except StoreError as error:
                    log.debug("a reader waits, but the ledger does not answer: %s", error)
                await asyncio.sleep(limits.PROGRESS_POLL_MILLISECONDS / 1000)
        finally:
            self._watching = None


class _Left(NamedTuple):
    """What was there at a start: since when something is missing, and which blocks."""

    oldest: int | None
    tokens: list[str]


def _left(connection: sa.Connection, node: str) -> _Left:
    seen = watermark.read(connection, node)
    waiting = journal.oldest(connection)
    instants = [] if waiting is None else [waiting[1]]
    if seen.oldest_under_way is not None:
        instants.append(seen.oldest_under_way)
    return _Left(min(instants, default=None), blocks.tokens(connection))
