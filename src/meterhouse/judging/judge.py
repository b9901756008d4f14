"""The judge's bench: from journal rows to outcomes, in blocks for the usage store.

It works on a view of the ledger and writes nothing; the processor commits what it says. A batch
takes two rounds: the first judges every event and asks which identifiers are taken, the second
concludes with that answer. A second first round forgets the first one.
"""

import logging
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.identifiers.index import day_of, latest_day
from meterhouse.judging.catalog import CatalogReader
from meterhouse.judging.columns import Judged
from meterhouse.judging.deduplicate import deduplicate
from meterhouse.judging.dimension import Admission, Combination, Combinations
from meterhouse.judging.known_customers import KnownCustomers
from meterhouse.judging.resent import without_own
from meterhouse.judging.watched import Watched
from meterhouse.ledger import accounts, journal, meters, partitions, tallies, timekeeping
from meterhouse.ledger.blocks import Block
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.journal import Cancellation, Entry
from meterhouse.ledger.touches import Touches
from meterhouse.metering.activity import ActivityLine
from meterhouse.metering.activity import gather as gather_activity
from meterhouse.metering.identifier import Claims, identifier_digest
from meterhouse.metering.model import Meter, RejectedEvent, Scope, StoredEvent
from meterhouse.metering.report import RejectionLine, gather
from meterhouse.metering.validation import by_kind, judge
from meterhouse.usage import block
from meterhouse.usage.slots import slots
from meterhouse.usage.store import UsageStore

_NEVER = 2**31  # a day that never comes

log = logging.getLogger("meterhouse.judge")


class UnderWay(NamedTuple):
    """A batch that is concluded and not known to be committed, and the positions of its rows."""

    batch: int
    positions: list[int]


class Verdict(NamedTuple):
    """What one batch comes to: what to commit, and the `positions` of the journal's rows it is of.

    It is the `batch` of that number of its `partition`. Where it takes all that the partition had
    left, `as_of` is an instant before it was read, by the database's clock; it is 0 elsewhere.

    `claims` are the digests, by day, that the blocks bring to the usage store; `new_claims` are the
    ones among them that nobody has made yet. `today` is the day that time had reached: claims that
    stood against an event which was received on a later one are the same as on that day. `touches`
    is what the batch has used that somebody waits for.
    """

    partition: int
    batch: int
    as_of: int
    last: int
    positions: list[int]
    today: int
    blocks: list[Block]
    counts: dict[tallies.Line, int]
    activity: list[ActivityLine]
    rejections: list[RejectionLine]
    claims: dict[int, list[bytes]]
    new_claims: dict[int, list[bytes]]
    combinations: list[Combination]
    adjustments: list[str]
    touches: Touches | None

    @property
    def under_way(self) -> UnderWay:
        """What the next batch is judged without."""
        return UnderWay(self.batch, self.positions)


class _Batch(NamedTuple):
    """A batch between its two rounds: the positions of its rows, and of its last event."""

    partition: int
    number: int
    as_of: int
    last: int
    positions: list[int]
    today: int
    judged: Judged
    admission: Admission
    rejected: list[RejectedEvent]
    cancellations: list[Cancellation]
    scopes: dict[int, Scope]
    meters: Mapping[str, Meter]


class Judge:
    """Judges the batches of one partition, one at a time."""

    def __init__(
        self,
        ledger: Ledger,
        usage: UsageStore,
        deduplication_days: int,
        partition: int = 0,
        customers: KnownCustomers | None = None,
    ) -> None:
        """Judge a partition; judges that are not asked at the same time may share `customers`."""
        self._ledger = ledger
        self._usage = usage
        self._days = deduplication_days
        self._partition = partition
        self._customers = customers or KnownCustomers()
        self._combinations = Combinations()
        self._watched = Watched()
        self._batch: _Batch | None = None

    def judge(self, under_way: UnderWay | None = None, *, anew: bool = False) -> list[bytes] | None:
        """Judge the oldest events of the partition; return the identifiers to look up, as digests.

        None tells that there are none, beside those of the batch `under_way`; `anew` is for a batch
        whose commit failed.
        """
        # What a batch that is being committed has added to the combinations, the ledger cannot
        # tell again.
        if anew or (under_way is None and self._combinations.full):
            self._combinations.clear()
        with self._ledger.read() as connection:
            self._batch = self._read(connection, under_way or UnderWay(0, []))
        if self._batch is None:
            return None
        return [digest for digest in self._batch.judged.digests if digest is not None]

    def conclude(self, taken: Mapping[bytes, int]) -> Verdict:
        """Conclude the batch; `taken` are the claims on the digests that `judge` returned."""
        batch, self._batch = self._batch, None
        if batch is None:
            raise StoreError("The batch that was begun is gone; it must be judged anew.")
        judged, rows = batch.judged, batch.judged.rows
        taken = without_own(taken, judged.resent, self._usage.claims)
        received = np.minimum(judged.days, batch.today)
        outcome = deduplicate(judged.digests, received, taken, self._days, batch.admission)
        counted = judged.without([*outcome.duplicates, *outcome.refused])
        kept = rows if counted.all() else rows.filter(counted)
        duplicates = rows.take(pa.array(outcome.duplicates, pa.int64()))
        rejected = [*batch.rejected, *outcome.refused.values()]
        cancelled = self._find_cancelled(batch.cancellations, batch.scopes)
        events = block.joined([kept, block.cancelled(cancelled)])
        activity = gather_activity(judged.arrivals(kept), judged.arrivals(duplicates), rejected)
        new, alone = judged.claims(counted)
        claims = _all_claims(new, alone, rejected)
        blocks = _blocks(batch, events, duplicates, rejected, claims)
        return Verdict(
            batch.partition,
            batch.number,
            batch.as_of,
            batch.last,
            batch.positions,
            batch.today,
            blocks,
            tallies.of(activity),
            activity,
            gather(rejected),
            claims.by_day(),
            new.by_day(),
            batch.admission.new,
            [one.adjustment for one in batch.cancellations],
            self._watched.touched_by(events, blocks),
        )

    def _read(self, connection: sa.Connection, under_way: UnderWay) -> _Batch | None:
        instant = partitions.instant(connection)
        entries = journal.read(
            connection,
            limits.PROCESS_BATCH_EVENTS_MAX,
            limits.PROCESS_BATCH_ROWS_MAX,
            limits.PROCESS_BATCH_BYTES_MAX,
            partition=self._partition,
            without=under_way.positions,
        )
        scopes = accounts.scopes_by_id(connection)
        known = timekeeping.read(connection)
        judged, admission = Judged(scopes), Admission(self._combinations)
        self._customers.refresh(connection)
        self._watched.refresh(connection)
        catalogs = CatalogReader(connection, self._customers.look_up)
        rejected: list[RejectedEvent] = []
        cancellations: list[Cancellation] = []
        last, positions = 0, []
        for some in _some_at_a_time(entries):
            last = some[-1].last
            positions += [entry.position for entry in some]
            cancellations += [one for entry in some for one in entry.cancellations]
            kinds = by_kind(
                (position, event) for entry in some for position, event in entry.numbered()
            )
            catalog = catalogs.read(kinds)
            accepted, wrong = judge(kinds, catalog)
            admission.add(accepted, len(judged.digests), catalog.meters)
            judged.add(accepted)
            rejected += wrong
        if not last:
            return None
        admission.look_up(connection)
        rest = journal.has_more(
            connection, self._partition, positions[-1], without=under_way.positions
        )
        measured = meters.by_ids(connection, {one.meter for one in cancellations})
        return _Batch(
            self._partition,
            max(partitions.last_batch(connection, self._partition), under_way.batch) + 1,
            0 if rest else instant,
            last,
            positions,
            _NEVER if known is None else latest_day(known.reached),
            judged,
            admission,
            rejected,
            cancellations,
            scopes,
            {**catalogs.meters, **measured},
        )

    def _find_cancelled(
        self, cancellations: list[Cancellation], scopes: Mapping[int, Scope]
    ) -> list[StoredEvent]:
        """Return the events that are cancelled, each as received when its cancellation was.

        A cancellation was only taken because the usage store had its event. Where the store has
        lost it since, nothing is left to cancel; that must not hold up everybody else's usage.
        """
        wanted: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for one in cancellations:
            wanted[one.scope, one.meter].append(one.position)
        stored = {
            event.position: event
            for (scope, meter), positions in wanted.items()
            for event in self._usage.find_all(scopes[scope], meter, positions)
        }
        found: list[StoredEvent] = []
        for one in cancellations:
            event = stored.get(one.position)
            if event is not None:
                found.append(msgspec.structs.replace(event, received_at=one.received_at))
            else:
                log.error(
                    "the usage store has lost the event at position %d that %s cancels",
                    one.position,
                    one.adjustment,
                )
        return found


def _some_at_a_time(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield rows of the journal together that have as many events as are judged at once."""
    some: list[Entry] = []
    events = 0
    for entry in entries:
        some.append(entry)
        events += len(entry.events)
        if events >= limits.PROCESS_AT_ONCE_EVENTS:
            yield some
            some, events = [], 0
    if some:
        yield some


def _all_claims(new: Claims, alone: Claims, rejected: Sequence[RejectedEvent]) -> Claims:
    """Add the claims that events made when they were submitted alone, whatever became of them.

    A rejected event keeps its claim: its sender was told that the identifier is taken.
    """
    also = [(one.position, one.event) for one in rejected if one.event.meter is not None]
    if not also and not alone.digests:
        return new
    digests = [identifier_digest(event.scope, event.identifier) for _, event in also]
    days = [day_of(event.received_at) for _, event in also]
    return Claims(
        new.digests + alone.digests + digests,
        new.positions + alone.positions + [position for position, _ in also],
        new.days + alone.days + days,
    )


def _blocks(
    batch: _Batch,
    counted: pa.RecordBatch,
    duplicates: pa.RecordBatch,
    rejected: Sequence[RejectedEvent],
    claims: Claims,
) -> list[Block]:
    """Make the inserts: one for each table and partition, each under a token of its own.

    The token has a random part, so that a ledger that starts anew beside a usage store that is
    kept never has a block mistaken for an old one.
    """
    events = block.by_month(counted, "timestamp")
    wrong = block.by_month(block.rejected(rejected, batch.scopes), "received_at")
    again = block.by_month(duplicates, "received_at")
    made = [
        *block.pack("events", events),
        *block.pack("usage_slots", slots(events, batch.meters, batch.partition, batch.number)),
        *block.pack("rejected_events", wrong),
        *block.pack("duplicate_events", again),
        *block.identifiers(claims),
    ]
    name = f"{batch.positions[0]}-{secrets.token_hex(8)}"
    return [
        Block(f"{name}-{number}", one.destination, one.rows, one.body, batch.partition)
        for number, one in enumerate(made)
    ]
