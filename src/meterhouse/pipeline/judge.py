"""The judge's bench: from journal rows to outcomes, in blocks for the usage store.

It works on a view of the ledger and writes nothing; the processor commits what it says. A batch
takes two rounds: the first judges every event and asks which identifiers are taken, the second
concludes with that answer. A second first round forgets the first one.
"""

import logging
import secrets
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.ledger import accounts, journal, meters, tallies
from meterhouse.ledger.blocks import Block
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.journal import Cancellation, Entry
from meterhouse.metering.activity import ActivityLine
from meterhouse.metering.activity import gather as gather_activity
from meterhouse.metering.identifier import Claims, identifier_digest
from meterhouse.metering.model import AcceptedEvent, Meter, RejectedEvent, Scope, StoredEvent
from meterhouse.metering.report import RejectionLine, gather
from meterhouse.metering.validation import by_kind, judge
from meterhouse.metering.window import MILLISECONDS
from meterhouse.pipeline.catalog import read_catalog
from meterhouse.pipeline.deduplicate import Deduplicated, deduplicate
from meterhouse.pipeline.dimension import Admission, Combination, Combinations
from meterhouse.pipeline.known_customers import KnownCustomers
from meterhouse.pipeline.resent import without_own
from meterhouse.usage import block
from meterhouse.usage.slots import slots
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.judge")


class Verdict(NamedTuple):
    """What one batch comes to: what to commit, and up to which position.

    `claims` are the digests, by day, that the blocks bring to the usage store; `new_claims` are
    the ones among them that nobody has made yet.
    """

    last: int
    blocks: list[Block]
    counts: dict[tallies.Line, int]
    activity: list[ActivityLine]
    rejections: list[RejectionLine]
    claims: dict[int, list[bytes]]
    new_claims: dict[int, list[bytes]]
    combinations: list[Combination]
    adjustments: list[str]


class _Batch(NamedTuple):
    """The events of a batch, judged one by one."""

    entries: list[Entry]
    accepted: list[AcceptedEvent]
    rejected: list[RejectedEvent]
    digests: list[bytes | None]
    admission: Admission
    scopes: dict[int, Scope]
    meters: dict[str, Meter]


class Judge:
    """Judges one batch at a time."""

    def __init__(self, ledger: Ledger, usage: UsageStore, deduplication_days: int) -> None:
        self._ledger = ledger
        self._usage = usage
        self._days = deduplication_days
        self._customers = KnownCustomers()
        self._combinations = Combinations()
        self._batch: _Batch | None = None

    def judge(self, after: int = 0, *, anew: bool = False) -> list[bytes] | None:
        """Judge the oldest events of the journal; return the identifiers to look up, as digests.

        None tells that there are none. `after` is the last position of a batch that is concluded
        and not known to be committed; `anew` is for a batch whose commit failed.
        """
        # What a batch that is being committed has added to the combinations, the ledger cannot
        # tell again.
        if anew or (not after and self._combinations.full):
            self._combinations.clear()
        with self._ledger.read() as connection:
            self._batch = self._read(connection, after)
        if self._batch is None:
            return None
        return [digest for digest in self._batch.digests if digest is not None]

    def conclude(self, taken: Mapping[bytes, int]) -> Verdict:
        """Conclude the batch; `taken` are the claims on the digests that `judge` returned."""
        batch, self._batch = self._batch, None
        if batch is None:
            raise StoreError("The batch that was begun is gone; it must be judged anew.")
        taken = without_own(taken, batch.accepted, batch.digests, self._usage.claims)
        outcome = deduplicate(
            batch.accepted, batch.digests, taken, self._days, batch.admission.refuse
        )
        rejected = batch.rejected + outcome.rejected
        cancellations = [one for entry in batch.entries for one in entry.cancellations]
        cancelled = self._find_cancelled(cancellations, batch.scopes)
        new_claims = outcome.claims.by_day()
        activity = gather_activity(outcome.kept, outcome.duplicates, rejected)
        claims = _with_those_alone(outcome.claims, outcome.kept, rejected)
        return Verdict(
            max(entry.last for entry in batch.entries),
            _blocks(batch, outcome, rejected, cancelled, claims),
            tallies.of(activity),
            activity,
            gather(rejected),
            claims.by_day(),
            new_claims,
            batch.admission.new,
            [one.adjustment for one in cancellations],
        )

    def _read(self, connection: sa.Connection, after: int) -> _Batch | None:
        entries = journal.read(
            connection,
            limits.PROCESS_BATCH_EVENTS_MAX,
            limits.PROCESS_BATCH_ROWS_MAX,
            limits.PROCESS_BATCH_BYTES_MAX,
            after,
        )
        if not entries:
            return None
        events = [event for entry in entries for event in entry.events]
        positions = [
            position
            for entry in entries
            for position in range(entry.position, entry.position + len(entry.events))
        ]
        kinds = by_kind(positions, events)
        catalog = read_catalog(connection, kinds, self._customers.look_up)
        accepted, rejected = judge(kinds, catalog)
        digests = [
            identifier_digest(one.event.scope, one.event.identifier)
            if one.event.meter is None
            else None
            for one in accepted
        ]
        admission = self._combinations.look_up(connection, accepted, catalog.meters)
        scopes = accounts.scopes_by_id(connection)
        cancelled = {one.meter for entry in entries for one in entry.cancellations}
        measured = {**catalog.meters, **meters.by_ids(connection, cancelled)}
        return _Batch(entries, accepted, rejected, digests, admission, scopes, measured)

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


def _with_those_alone(
    claims: Claims, kept: list[AcceptedEvent], rejected: list[RejectedEvent]
) -> Claims:
    """Add the claims that events made when they were submitted alone, whatever became of them.

    A rejected event keeps its claim: its sender was told that the identifier is taken.
    """
    alone = [
        (one.position, one.event)
        for outcome in (kept, rejected)
        for one in outcome
        if one.event.meter is not None
    ]
    return Claims(
        claims.digests + [identifier_digest(one.scope, one.identifier) for _, one in alone],
        claims.positions + [position for position, _ in alone],
        claims.days + [one.received_at // MILLISECONDS["day"] for _, one in alone],
    )


def _blocks(
    batch: _Batch,
    outcome: Deduplicated,
    rejected: list[RejectedEvent],
    cancelled: list[StoredEvent],
    claims: Claims,
) -> list[Block]:
    """Make the inserts: one for each table and partition, each under a token of its own.

    The token has a random part, so that a ledger that starts anew beside a usage store that is
    kept never has a block mistaken for an old one.
    """
    name = f"{batch.entries[0].position}-{secrets.token_hex(8)}"
    events = block.accepted(outcome.kept, batch.scopes) + block.cancelled(cancelled)
    made = [
        *events,
        *slots(events, batch.meters, max(entry.last for entry in batch.entries)),
        *block.rejected(rejected, batch.scopes),
        *block.duplicates(outcome.duplicates, batch.scopes),
        *block.identifiers(claims),
    ]
    return [
        Block(f"{name}-{number}", one.destination, one.rows, one.body)
        for number, one in enumerate(made)
    ]
