"""Which identifiers are taken, and which acknowledged event took each.

A claim is durable as part of what it came with: the journal row of a v1 event, the judged block of
a stream event, and for good the usage store's table of identifiers, sorted by digest. In memory
there are two things more:

- the claims that the usage store does not have yet, exactly;
- a filter of all the others, for each partition of the journal that this process has. Nearly every
  identifier is new, and the filter is certain of that, so the usage store is asked about suspects
  only. The cost of an event does not grow with history. After a partition has come here all of it
  are suspects, until its filter knows what is stored (`identifiers.load`).

What a reader may rely on: an identifier is taken from the commit that claims it until the end of
the day that lies `deduplication_days` after that of its receipt, by a clock that is late rather
than wrong (`processing.timekeeper`). Claims are made on the ledger's writer thread, right after
their commit; so work on that thread sees all of them.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress, count
from threading import Lock

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.identifiers.filter import Digests, Filter
from meterhouse.ledger import blocks, journal
from meterhouse.metering.identifier import partition_of
from meterhouse.metering.window import MILLISECONDS
from meterhouse.stores import Stores
from meterhouse.usage import block
from meterhouse.usage.store import UsageStore

Claimed = Mapping[int, Sequence[bytes]]  # digests by the day of their claims
Mask = npt.NDArray[np.bool_]


class Share:
    """What is known of one partition: a filter, and if it has what was stored before.

    A partition that goes and comes back has another one.
    """

    def __init__(self, partitions: int) -> None:
        self.filter = Filter(partitions)
        self.loaded = False


class Identifiers:
    """The index of claims; its methods may be called from any thread."""

    def __init__(self, deduplication_days: int, partitions: int = 1) -> None:
        """Know of the partition if there is only one; of others once they have come (`begin`)."""
        self.partitions = partitions
        self._days = deduplication_days
        self._lock = Lock()
        self._shares = {0: Share(1)} if partitions == 1 else {}
        self._pending: dict[bytes, int] = {}  # days of claims that the usage store may not have
        self._tickets: dict[int, None] = {}  # of the holds, oldest first
        self._next_ticket = count()
        # Claims that were pending and that it has now, kept for the holds with smaller tickets.
        self._stored: deque[tuple[int, dict[bytes, int]]] = deque()

    def begin(self, partition: int) -> None:
        """Take up a partition that this process has from now on: all of it are suspects."""
        self.forget(partition)
        with self._lock:
            self._shares[partition] = Share(self.partitions)

    def forget(self, partition: int) -> None:
        """Forget a partition that another process may have from now on."""
        with self._lock:
            self._shares.pop(partition, None)
            for digest in [*self._pending]:
                if partition_of(digest, self.partitions) == partition:
                    del self._pending[digest]

    def unloaded(self) -> dict[int, Share]:
        """Return the partitions whose filters do not have yet what was stored before."""
        with self._lock:
            return {number: one for number, one in self._shares.items() if not one.loaded}

    def know(self, share: Share, stored: Filter) -> None:
        """Take up, for one of the `unloaded`, a filter of what was stored before it began."""
        with self._lock:
            stored.append(share.filter)
            share.filter = stored
            share.loaded = True

    async def recover(self, stores: Stores, partitions: Collection[int] | None = None) -> None:
        """Learn what is committed and was not claimed here: at a start, after a commit in doubt.

        It is learnt of some `partitions`, or of all.
        """
        await stores.write_then(self.claim, _unstored, partitions)

    def first_day(self, now: int) -> int:
        """Return the first day whose claims still hold."""
        return day_of(now) - self._days

    def first_day_kept(self, now: int) -> int:
        """Return the first day whose claims are kept: an event may be judged on the next day."""
        return self.first_day(now) - 1

    def holds(self, day: int, received_at: int) -> bool:
        """Tell whether a claim of a day stands against an event that is received at an instant."""
        return day >= self.first_day(received_at)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every claim that is pending now, or becomes so, until the end.

        Who finds, within, that the usage store does not have an identifier, and later that no
        claim that is kept here has it, knows that it is free. What was stored before, and is kept
        for an older hold, may go with that one: it is a suspect, and the usage store is asked.
        """
        with self._lock:
            ticket = next(self._next_ticket)
            self._tickets[ticket] = None
        try:
            yield
        finally:
            with self._lock:
                del self._tickets[ticket]
                self._forget()

    def suspects(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those digests that the usage store may have."""
        if not digests:
            return []
        firsts = _firsts(digests)
        with self._lock:
            possible = compress(digests, self._suspected(firsts))
            return [digest for digest in possible if digest not in self._pending]

    def taken(self, digests: Collection[bytes], received_at: int) -> set[bytes]:
        """Return those digests on which a claim kept here stands against an event received then."""
        return {day[0] for day in self._days_of(digests) if self.holds(day[1], received_at)}

    def stand_against(self, claimed: Claimed, today: int) -> bool:
        """Tell whether a claim that is kept here stands against any of these new ones.

        Those of a day after `today` are measured against that one (`processing.timekeeper`).
        """
        return any(
            before >= min(day, today) - self._days
            for day, digests in claimed.items()
            for _, before in self._days_of(digests)
        )

    async def find(self, stores: Stores, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Return the day of the claim on each of those digests that is taken, or once was."""
        with self.held():
            suspects = self.suspects(digests)
            found = await stores.usage(UsageStore.claims, suspects) if suspects else {}
            stored = {digest: claim.day for digest, claim in found.items()}
            return stored | dict(self._days_of(digests))

    def claim(self, claimed: Claimed) -> None:
        """Note claims that are committed."""
        with self._lock:
            for day, digests in claimed.items():
                firsts = _firsts(digests)
                for number, share in self._shares.items():
                    share.filter.add(firsts[self._is_of(number, firsts)], day)
                self._pending.update(dict.fromkeys(digests, day))

    def stored(self, claimed: Claimed) -> None:
        """Note that the usage store has these claims."""
        with self._lock:
            left: dict[bytes, int] = {}
            for day, digests in claimed.items():
                for digest in digests:
                    if self._pending.get(digest) == day:
                        left[digest] = self._pending.pop(digest)
            self._stored.append((next(self._next_ticket), left))
            self._forget()

    def drop(self, now: int) -> None:
        """Forget what no longer holds."""
        with self._lock:
            for share in self._shares.values():
                share.filter.drop(self.first_day_kept(now))

    def _suspected(self, firsts: Digests) -> Mask:
        """Tell which digests are not known to be new; of what is not here, and not loaded, all."""
        suspected = np.ones(len(firsts), np.bool_)
        for number, share in self._shares.items():
            if share.loaded:
                mine = self._is_of(number, firsts)
                suspected[mine] = share.filter.suspects(firsts[mine])
        return suspected

    def _is_of(self, partition: int, firsts: Digests) -> Mask | slice:
        """Return what picks the digests of a partition; of the only one, all of them."""
        if self.partitions == 1:
            return slice(None)
        mine: Mask = firsts % np.uint64(self.partitions) == np.uint64(partition)
        return mine

    def _forget(self) -> None:
        """Forget the claims that are stored, unless an older hold may need them."""
        oldest = next(iter(self._tickets), None)
        while self._stored and (oldest is None or self._stored[0][0] < oldest):
            self._stored.popleft()

    def _days_of(self, digests: Collection[bytes]) -> list[tuple[bytes, int]]:
        """Return those of the digests whose claims are kept here, with their days, oldest first."""
        with self._lock:
            kept = [*(claims for _, claims in self._stored), self._pending]
            return [
                (digest, claims[digest])
                for claims in kept
                for digest in digests
                if digest in claims
            ]


def day_of(instant: int) -> int:
    """Return the UTC day of an instant, counted from the epoch."""
    return instant // MILLISECONDS["day"]


def latest_day(reached: int) -> int:
    """Return the latest day that it may be when time is known to have reached an instant."""
    return day_of(reached + limits.CLOCK_APART_MINUTES_MAX * MILLISECONDS["minute"])


def _firsts(digests: Sequence[bytes]) -> Digests:
    """Return the first eight bytes of each digest, as numbers."""
    return np.frombuffer(b"".join(digests), "<u8")[::2]


def _unstored(connection: sa.Connection, partitions: Collection[int] | None) -> Claimed:
    """Read the claims that the usage store need not have: of the journal and of blocks.

    The newest day stands last, so that its claim is the one that is kept.
    """
    claimed: dict[int, list[bytes]] = {}
    for events in journal.claiming_events(connection, partitions):
        for day, digest in zip(events.days.tolist(), events.digests, strict=True):
            claimed.setdefault(day, []).append(digest)
    for one in blocks.read(connection, "identifiers", partitions):
        for day, digests in block.claims(one.body).by_day().items():
            claimed.setdefault(day, []).extend(digests)
    return dict(sorted(claimed.items()))
