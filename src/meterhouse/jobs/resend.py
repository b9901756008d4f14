"""Resend: rejected events are judged again, a chunk at a time.

- An event counts at most once, however often it is resent: its identifier is claimed as that of any
  event of a stream is. The one claim that does not stand against it is that of a rejected event,
  which an event that was submitted alone keeps; see `MeterEvent.resend_of`. Of an event so old that
  the claim of an earlier resend may be over, the usage store tells whether it counts.
- A chunk is sent in one transaction, which also keeps the instant at which it is received; so after
  a crash it is sent, or its outcomes are found.
- What arrives or is rejected after a resend began is not part of it.
- Values that are being erased from events (`jobs.erase`) are not brought back: a resend waits, and
  a chunk that was read before is read again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Worker, is_set_within
from meterhouse.clock import Clock
from meterhouse.errors import OvertakenError, Refusal
from meterhouse.identifiers.index import Identifiers, day_of
from meterhouse.ingest.pack import pack
from meterhouse.judging.catalog import CatalogReader
from meterhouse.ledger import erasures, journal, partitions, resends, tallies
from meterhouse.ledger.resends import Resend
from meterhouse.metering.coded import texts
from meterhouse.metering.columns import Events
from meterhouse.metering.identifier import Claim, identifier_digest
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.resend import received_last
from meterhouse.metering.search import EventSearch, FoundEvent
from meterhouse.metering.validation import judge
from meterhouse.metrics import Metrics
from meterhouse.processing.stillness import Settle
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.stores import Stores
from meterhouse.usage.search import Page
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope

log = logging.getLogger("meterhouse.resend")

_LAST = 2**63  # beyond every position


class Chunk(NamedTuple):
    """Rejected events to resend, oldest first; the next chunk begins at `end`."""

    events: list[FoundEvent]
    end: int


class Resender(Worker):
    """Runs one resend after the other.

    `receiving(instant)` tells that something is on its way that was received then, and `sent` how
    many events came into the journal.
    """

    def __init__(
        self,
        stores: Stores,
        identifiers: Identifiers,
        settle: Settle,
        receiving: Callable[[int], AbstractContextManager[None]],
        sent: Callable[[int], None],
        clock: Clock,
        timekeeper: Timekeeper,
        metrics: Metrics,
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self._stores = stores
        self._identifiers = identifiers
        self._settles = settle
        self._receiving = receiving
        self._noted = sent
        self._clock = clock
        self._timekeeper = timekeeper

    async def _run(self) -> None:
        while True:
            self._work.clear()
            try:
                while resend := await self._stores.read(resends.oldest_running):
                    await self._step(resend)
            except OvertakenError:
                return
            except Refusal as refusal:
                log.info("a resend waits: %s", refusal)
                await self._pause()
            except Exception:
                log.exception("a resend failed and will be tried again")
                await self._pause()
            await is_set_within(self._work, limits.RESEND_LOOK_SECONDS)

    async def _pause(self) -> None:
        await asyncio.sleep(limits.RESEND_RETRY_SECONDS)
        self._work.set()

    async def _step(self, resend: Resend) -> None:
        """Bring a resend one chunk further."""
        if self._timekeeper.behind() is not None:
            raise envelope.clock_behind()
        if resend.matched is None:
            resend = await self._counted(resend)
        erased = await self._stores.read(erasures.erased, resend.scope)
        chunk = await self._chunk(resend)
        left = chunk._replace(events=await self._left(resend, chunk.events))
        outcomes: Mapping[str, str] | None
        if not left.events:
            outcomes = {}
        elif resend.dry_run:
            outcomes = await self._judged(resend, left)
        else:
            outcomes = await self._sent(resend, left, erased)
        if outcomes is not None:
            await self._stores.write(resends.save, _advanced(resend, chunk, outcomes))

    async def _counted(self, resend: Resend) -> Resend:
        """Count what a resend is about, when all that came before it is judged."""
        await self._settle()
        page = Page(0, resend.end_position, 0)
        matched = await self._stores.usage(UsageStore.count_rejected, resend.plan.search, page)
        return msgspec.structs.replace(resend, matched=matched)

    async def _chunk(self, resend: Resend) -> Chunk:
        """Return the next events; one that was rejected again later is left to a later chunk."""
        search = resend.plan.search
        rest = Page(
            resend.next_position, resend.end_position, limits.RESEND_CHUNK_EVENTS_MAX, oldest=True
        )
        found = await self._stores.usage(UsageStore.search, search, rest)
        if not found:
            return Chunk([], resend.end_position)
        names = tuple({event.identifier for event in found})
        same = msgspec.structs.replace(search, identifiers=names)
        newest = await self._stores.usage(UsageStore.newest, same, "rejected", rest)
        full = len(found) == limits.RESEND_CHUNK_EVENTS_MAX
        end = found[-1].position + 1 if full else resend.end_position
        return Chunk(received_last(found, newest), end)

    async def _left(self, resend: Resend, events: list[FoundEvent]) -> list[FoundEvent]:
        """Leave out those events that count already, though their identifiers may be free again."""
        now = self._timekeeper.now()
        old = [one for one in events if not self._identifiers.holds(day_of(one.received_at), now)]
        if not old:
            return events
        accepted = EventSearch(
            scope=resend.plan.search.scope,
            identifiers=tuple(event.identifier for event in old),
            received=(min(event.received_at for event in old), None),
        )
        before = Page(old[0].position, resend.end_position, len(old))
        counts = await self._stores.usage(UsageStore.newest, accepted, "accepted", before)
        return [event for event in events if counts.get(event.identifier, -1) < event.position]

    async def _sent(
        self, resend: Resend, chunk: Chunk, erased: int | None
    ) -> Mapping[str, str] | None:
        """Send a chunk, unless that was done before a crash, and return what became of it.

        None tells that it was not sent, because values have been `erased` since it was read.
        """
        if resend.sent_at is None:
            now = self._clock.now()
            resend = msgspec.structs.replace(resend, sent_at=now)
            with self._receiving(now):
                claims = await self._rejected_claims(resend, chunk)
                events = [
                    resend.plan.event(event, now, claims.get(event.identifier))
                    for event in chunk.events
                ]
                if not await self._stores.write(_send, resend, events, erased):
                    return None
            self._metrics.events.labels("acknowledged", "").inc(len(events))
            self._noted(len(events))
        await self._settle()
        return await self._outcomes(resend, chunk)

    async def _outcomes(self, resend: Resend, chunk: Chunk) -> Mapping[str, str]:
        """Return what became of the events that were sent, by identifier.

        That is `accepted`, `duplicate`, or the code of the rejection.
        """
        names = tuple(event.identifier for event in chunk.events)
        scope = resend.plan.search.scope
        sent_at = resend.sent_at or 0
        search = EventSearch(scope=scope, identifiers=names, received=(sent_at, sent_at + 1))
        page = Page(resend.end_position, _LAST, 2 * len(names))
        found = await self._stores.usage(UsageStore.search, search, page)
        return {event.identifier: event.code or event.outcome for event in found}

    async def _judged(self, resend: Resend, chunk: Chunk) -> Mapping[str, str]:
        """Return what would become of a chunk. Combinations of dimensions are not counted."""
        now = self._clock.now()
        claims = await self._rejected_claims(resend, chunk)
        events = [resend.plan.event(event, now, None) for event in chunk.events]
        outcomes = await self._stores.read(_judge, events)
        taken = await self._claims(resend.scope, outcomes)
        return {
            name: "duplicate"
            if outcome == "accepted" and name in taken.keys() - claims
            else outcome
            for name, outcome in outcomes.items()
        }

    async def _rejected_claims(self, resend: Resend, chunk: Chunk) -> dict[str, int]:
        """Return, by identifier, the positions of claims whose own events were rejected."""
        taken = await self._claims(resend.scope, (event.identifier for event in chunk.events))
        if not taken:
            return {}
        positions = tuple(claim.position for claim in taken.values())
        search = EventSearch(
            scope=resend.plan.search.scope, positions=positions, outcome="rejected"
        )
        page = Page(min(positions), max(positions) + 1, len(positions))
        found = await self._stores.usage(UsageStore.search, search, page)
        rejected = {event.position for event in found}
        return {name: claim.position for name, claim in taken.items() if claim.position in rejected}

    async def _claims(self, scope: int, names: Iterable[str]) -> dict[str, Claim]:
        """Return the claims on those identifiers that are taken, when all are settled."""
        digests = {identifier_digest(scope, name): name for name in names}
        found = await self._stores.usage(UsageStore.claims, list(digests))
        now = self._timekeeper.now()
        return {
            digests[digest]: claim
            for digest, claim in found.items()
            if self._identifiers.holds(claim.day, now)
        }

    async def _settle(self) -> None:
        """Wait until what was acknowledged is judged and stored, however long that takes."""
        while not await self._settles(limits.CONSISTENCY_WAIT_SECONDS_MAX):
            log.info("a resend waits until what was acknowledged is stored")


def _send(
    connection: sa.Connection, resend: Resend, events: list[MeterEvent], erased: int | None
) -> bool:
    """Acknowledge events like those of a stream; False if values may have been erased from them.

    Positions come first: whoever erases waits until all who have some have committed.
    """
    position = journal.reserve(connection, len(events))
    if erased is None or erasures.erased(connection, resend.scope) != erased:
        return False
    resends.save(connection, resend)
    journal.append(connection, position, pack(events, partitions.count(connection)))
    tallies.add(connection, {tallies.Line(resend.scope, "acknowledged"): len(events)})
    return True


def _judge(connection: sa.Connection, events: list[MeterEvent]) -> dict[str, str]:
    """Return, by identifier, `accepted` or the code of the rejection."""
    columns = Events.of(range(len(events)), events)
    accepted, rejected = judge(columns, CatalogReader(connection).read(columns))
    outcomes = dict.fromkeys(accepted.events.identifiers.to_pylist(), "accepted")
    codes = texts(rejected.codes).to_pylist()
    return outcomes | dict(zip(rejected.events.identifiers.to_pylist(), codes, strict=True))


def _advanced(resend: Resend, chunk: Chunk, outcomes: Mapping[str, str]) -> Resend:
    """Return what a resend has become by a chunk; what has no other outcome is a duplicate."""
    counts = Counter(outcomes.get(event.identifier, "duplicate") for event in chunk.events)
    accepted, duplicate = counts.pop("accepted", 0), counts.pop("duplicate", 0)
    return msgspec.structs.replace(
        resend,
        accepted=resend.accepted + accepted,
        duplicate=resend.duplicate + duplicate,
        codes=dict(Counter(resend.codes) + counts),
        next_position=chunk.end,
        sent_at=None,
        status="complete" if chunk.end >= resend.end_position else "running",
    )
