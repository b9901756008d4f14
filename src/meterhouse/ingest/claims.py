"""How single events take their identifiers: one way for a ledger of one process, one for many.

Whoever takes an identifier must be found by every later commit, until the usage store has the
claim. `LocalClaims` keeps what is pending in this process' memory, where the judge finds it, too.
`SharedClaims` asks the usage store about each identifier, and writes what is taken into the ledger,
where nobody else can take it again; the judge knows nothing of that, and judges a single event as
one of a stream.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.identifiers.index import Claimed, Identifiers
from meterhouse.ledger import leases, recent_claims
from meterhouse.metering.model import Meter, MeterEvent
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore


class Asked(NamedTuple):
    """What the usage store said: the day of the claim that it has, None where it has none.

    `at` is when it was asked, by `time.monotonic`.
    """

    day: int | None
    at: float


class Claims(Protocol):
    """What the acceptor asks about claims, and tells of those it makes."""

    @property
    def waiting(self) -> int:
        """How many wait in `before`."""

    async def before(self, digest: bytes) -> Asked | None:
        """Ask the usage store about an identifier, where that is always done."""

    def held(self) -> AbstractContextManager[None]:
        """Keep what `taken` goes by, and what the usage store is asked meanwhile, until the end."""

    def suspects(self, digests: Sequence[bytes], /) -> Collection[bytes]:
        """Return those that the usage store has yet to be asked about."""

    def holds(self, day: int, received_at: int, /) -> bool:
        """Tell whether a claim of a day stands against an event that is received at an instant."""

    def taken(
        self, connection: sa.Connection, asked: Mapping[bytes, Asked | None], now: int
    ) -> set[bytes]:
        """Return those that are taken, as far as the usage store need not know of it yet.

        The others are this transaction's. `asked` has what the usage store said of them.
        """

    def written(self, event: MeterEvent, meter: Meter) -> MeterEvent:
        """Return an event as the journal gets it: `meter` is what it was checked against."""

    def committed(self, claimed: Claimed, /) -> None:
        """Note claims that are on disk."""

    async def recover(self, stores: Stores, /) -> None:
        """Learn what a commit that seemed to fail has claimed."""


class LocalClaims:
    """Claims where one process accepts and processes everything."""

    def __init__(self, identifiers: Identifiers) -> None:
        self._identifiers = identifiers
        self.waiting = 0
        self.held = identifiers.held
        self.suspects = identifiers.suspects
        self.holds = identifiers.holds
        self.committed = identifiers.claim
        self.recover = identifiers.recover

    async def before(self, _: bytes) -> Asked | None:
        """Return None: the index knows of nearly all that they are free."""
        return None

    def taken(self, _: sa.Connection, asked: Mapping[bytes, Asked | None], now: int) -> set[bytes]:
        """Return those with a claim that is pending, or was when the usage store was asked."""
        return self._identifiers.taken(asked, now)

    def written(self, event: MeterEvent, meter: Meter) -> MeterEvent:
        """Return the event with its meter, by which the judge knows that it holds its claim."""
        return MeterEvent(
            event.scope,
            event.identifier,
            event.event_name,
            event.timestamp,
            event.received_at,
            event.payload,
            meter.id,
            event.whole,
            None,
            event.timed_by,
        )


class SharedClaims:
    """Claims where several processes accept.

    A row of `recent_claims` is kept until the usage store has had the claim for
    `RECENT_CLAIMS_MINUTES`, so whoever asked it before has found the row, or takes too long.
    """

    def __init__(self, stores: Stores, holds: Callable[[int, int], bool]) -> None:
        self._look_up = _LookUp(stores)
        self.before = self._look_up.ask
        self.holds = holds
        self.held = nullcontext

    @property
    def waiting(self) -> int:
        """How many wait for what the usage store says."""
        return self._look_up.waiting

    def suspects(self, _: Sequence[bytes]) -> Collection[bytes]:
        """Return none: all were asked about."""
        return ()

    def taken(
        self, connection: sa.Connection, asked: Mapping[bytes, Asked | None], _: int
    ) -> set[bytes]:
        """Take them, and return those that somebody has taken before."""
        taken = recent_claims.take(connection, asked, leases.now(connection))
        oldest = min((one.at for one in asked.values() if one), default=math.inf)
        if time.monotonic() - oldest > limits.RECENT_CLAIM_SECONDS_MAX:
            raise StoreError("The ledger took so long that the usage store must be asked again.")
        return taken

    def written(self, event: MeterEvent, _: Meter) -> MeterEvent:
        """Return the event as it is."""
        return event

    def committed(self, _: Claimed) -> None:
        """Do nothing: the ledger knows."""

    async def recover(self, _: Stores) -> None:
        """Do nothing: the ledger knows."""


class _LookUp:
    """Asks the usage store about one lot of identifiers after the other.

    A question about a thousand takes hardly longer than one about ten; so what comes while it is
    asked waits for the next question.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._wanted: list[tuple[bytes, asyncio.Future[Asked]]] = []
        self._task: asyncio.Task[None] | None = None
        self.waiting = 0

    async def ask(self, digest: bytes) -> Asked:
        answer: asyncio.Future[Asked] = asyncio.get_running_loop().create_future()
        self._wanted.append((digest, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        self.waiting += 1
        try:
            return await answer
        finally:
            self.waiting -= 1

    async def _run(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, []
                await self._answer(wanted)
        finally:
            self._task = None

    async def _answer(self, wanted: list[tuple[bytes, "asyncio.Future[Asked]"]]) -> None:
        at = time.monotonic()
        try:
            found = await self._stores.usage(UsageStore.claims, [digest for digest, _ in wanted])
        except Exception as error:  # noqa: BLE001 - each sender hears it and may retry
            for _, answer in wanted:
                if not answer.done():
                    answer.set_exception(error)
            return
        for digest, answer in wanted:
            if not answer.done():
                claim = found.get(digest)
                answer.set_result(Asked(claim.day if claim else None, at))
