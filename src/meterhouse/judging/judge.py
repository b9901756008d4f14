"""The judge's bench: from journal rows to outcomes, in blocks for the usage store.

It works on a view of the ledger and writes nothing; the processor commits what it says. A batch
takes two rounds: the first judges every event and asks which identifiers are taken, the second
concludes with that answer. A second first round forgets the first one.
"""

import logging
import secrets
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.identifiers.index import latest_day
from meterhouse.judging.catalog import CatalogReader
from meterhouse.judging.columns import Judged, claims_alone
from meterhouse.judging.deduplicate import deduplicate
from meterhouse.judging.dimension import Admission, Combination, Combinations
from meterhouse.judging.known_customers import KnownCustomers
from meterhouse.judging.resent import without_own
from meterhouse.judging.watched import Watched
from meterhouse.ledger import accounts, journal, meters, partitions, tallies, timekeeping
from meterhouse.ledger.blocks import Block
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.journal import Cancellation
from meterhouse.ledger.touches import Touches
from meterhouse.metering.activity import ActivityLine
from meterhouse.metering.activity import gather as gather_activity
from meterhouse.metering.coded import joined
from meterhouse.metering.identifier import Claims
from meterhouse.metering.model import Meter, Scope, StoredEvent
from meterhouse.metering.report import RejectionLine, gather
from meterhouse.metering.validation import Accepted, Rejected, judge
from meterhouse.usage import block
from meterhouse.usage.slots import slots
from meterhouse.usage.store import UsageStore

_NEVER = 2**31  # a day that never comes

log = logging.getLogger("meterhouse.judge")


class UnderWay(NamedTuple):
    """A batch that is concluded and not known to be committed.

    That is its number in each of its partitions, and the positions of its rows.
    """

    batches: Mapping[int, int]
    positions: Sequence[int]


class Verdict(NamedTuple):
    """What one batch comes to: what to commit, and the `positions` of the journal's rows it is of.

    `batches` are its number in each partition that it is of, and `events` how many it takes of
    them. Its blocks are kept `under` one of these. Where it takes all that the partitions had left,
    `as_of` is an instant before it was read, by the database's clock; it is 0 elsewhere.

    `claims` are the digests, by day, that the blocks bring to the usage store; `new_claims` are the
    ones among them that nobody has made yet. `today` is the day that time had reached: claims that
    stood against an event which was received on a later one are the same as on that day. `touches`
    is what the batch has used that somebody waits for.
    """

    under: int
    batches: dict[int, int]
    events: dict[int, int]
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
        return UnderWay(self.batches, self.positions)


class _Batch(NamedTuple):
    """A batch between its two rounds: the positions of its rows, and of its last event."""

    under: int
    numbers: dict[int, int]
    events: dict[int, int]
    as_of: int
    last: int
    positions: list[int]
    today: int
    judged: Judged
    admission: Admission
    rejected: Rejected
    cancellations: list[Cancellation]
    scopes: dict[int, Scope]
    meters: Mapping[str, Meter]


class Judge:
    """Judges batches, one at a time, each of all partitions that are named."""

    def __init__(
        self,
        ledger: Ledger,
        usage: UsageStore,
        deduplication_days: int,
    ) -> None:
        self._ledger = ledger
        self._usage = usage
        self._days = deduplication_days
        self._customers = KnownCustomers()
        self._combinations = Combinations()
        self._watched = Watched()
        self._batch: _Batch | None = None

    def judge(
        self,
        numbers: Sequence[int] = (0,),
        under_way: UnderWay | None = None,
        *,
        anew: bool = False,
    ) -> list[bytes] | None:
        """Judge the oldest events of partitions; return the identifiers to look up, as digests.

        None tells that there are none, beside those of the batch `under_way`; `anew` is for a batch
        whose commit failed, and for partitions that others had before.
        """
        # What a batch that is being committed has added to the combinations, the ledger cannot
        # tell again.
        if anew or (under_way is None and self._combinations.full):
            self._combinations.clear()
        with self._ledger.read() as connection:
            self._batch = self._read(connection, numbers, under_way or UnderWay({}, []))
        if self._batch is None:
            return None
        return [digest for digest in self._batch.judged.digests if digest is not None]

    def conclude(self, taken: Mapping[bytes, int]) -> Verdict:
        """Conclude the batch; `taken` are the claims on the digests that `judge` returned."""
        batch, self._batch = self._batch, None
        if batch is None:
            raise StoreError("The batch that was begun is gone; it must be judged anew.")
        judged = batch.judged
        taken = without_own(taken, judged.resent, self._usage.claims)
        received = np.minimum(judged.days, batch.today)
        outcome = deduplicate(judged.digests, received, taken, self._days, batch.admission)
        counted = judged.without([*outcome.duplicates, *outcome.refused])
        kept = judged.counting(counted)
        duplicates = judged.rows.take(np.array(outcome.duplicates, np.int64))
        rejected = Rejected.joined(batch.rejected, judged.refused(outcome.refused))
        cancelled = self._find_cancelled(batch.cancellations, batch.scopes)
        rows = joined([block.accepted(kept, batch.scopes), block.cancelled(cancelled)])
        activity = [
            *gather_activity(kept.events, kept.meters, "accepted"),
            *gather_activity(duplicates.events, duplicates.meters, "duplicate"),
            *gather_activity(rejected.events, rejected.meters, "rejected", rejected.codes),
        ]
        new, alone = judged.claims(counted)
        claims = Claims.joined([new, alone, claims_alone(rejected.events)])
        blocks = _blocks(batch, rows, duplicates, rejected, claims)
        return Verdict(
            batch.under,
            batch.numbers,
            batch.events,
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
            self._watched.touched_by(rows, blocks),
        )

    def _read(
        self, connection: sa.Connection, numbers: Sequence[int], under_way: UnderWay
    ) -> _Batch | None:
        instant = partitions.instant(connection)
        entries = journal.read(
            connection,
            limits.PROCESS_BATCH_EVENTS_MAX,
            limits.PROCESS_BATCH_ROWS_MAX,
            limits.PROCESS_BATCH_BYTES_MAX,
            partitions=numbers,
            without=under_way.positions,
        )
        if not entries:
            return None
        positions = [entry.position for entry in entries]
        cancellations = [one for entry in entries for one in entry.cancellations]
        scopes = accounts.scopes_by_id(connection)
        known = timekeeping.read(connection)
        self._customers.refresh(connection)
        self._watched.refresh(connection)
        events = journal.events_of(entries)
        catalog = CatalogReader(connection, self._customers.look_up).read(events)
        accepted, rejected = judge(events, catalog)
        admission = Admission(self._combinations, accepted)
        admission.look_up(connection)
        rest = journal.has_more(connection, numbers, positions[-1], without=under_way.positions)
        taken = Counter({numbers[0]: 0})
        for entry in entries:
            taken[entry.partition] += entry.events
        before = partitions.last_batches(connection, taken)
        measured = meters.by_ids(connection, {one.meter for one in cancellations})
        return _Batch(
            numbers[0],
            {one: max(before[one], under_way.batches.get(one, 0)) + 1 for one in taken},
            dict(taken),
            0 if rest else instant,
            max(entry.last for entry in entries),
            positions,
            _NEVER if known is None else latest_day(known.reached),
            Judged(accepted),
            admission,
            rejected,
            cancellations,
            scopes,
            {**catalog.meters, **measured},
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


def _blocks(
    batch: _Batch,
    counted: pa.RecordBatch,
    duplicates: Accepted,
    rejected: Rejected,
    claims: Claims,
) -> list[Block]:
    """Make the inserts: one for each table and partition, each under a token of its own.

    The token has a random part, so that a ledger that starts anew beside a usage store that is
    kept never has a block mistaken for an old one.
    """
    events = block.by_month(counted, "timestamp")
    wrong = block.by_month(block.rejected(rejected, batch.scopes), "received_at")
    again = block.by_month(block.accepted(duplicates, batch.scopes), "received_at")
    made = [
        *block.pack("events", events),
        *block.pack(
            "usage_slots", slots(events, batch.meters, batch.under, batch.numbers[batch.under])
        ),
        *block.pack("rejected_events", wrong),
        *block.pack("duplicate_events", again),
        *block.identifiers(claims),
    ]
    name = f"{batch.positions[0]}-{secrets.token_hex(8)}"
    return [
        Block(f"{name}-{number}", one.destination, one.rows, one.body, batch.under)
        for number, one in enumerate(made)
    ]
