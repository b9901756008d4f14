"""Accept: from a checked request to a committed journal row.

Submissions that wait for the disk at the same time share one transaction and one fsync
(`ingest.commit`); only after the commit does any sender hear.

- A single event is refused if no active meter has its name or its identifier is taken; how that is
  known is told in `ingest.claims`.
- The events of a stream are acknowledged as they are; the processor judges them and claims their
  identifiers.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.errors import StoreError
from meterhouse.ingest.claims import Asked, Claims
from meterhouse.ingest.commit import (
    Answer,
    Committed,
    ConflictError,
    Sent,
    StreamSubmission,
    Submission,
    commit,
)
from meterhouse.ingest.pack import pack
from meterhouse.ledger.journal import Packed
from meterhouse.metering.identifier import identifier_digest, partition_of
from meterhouse.metering.model import MeterEvent
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope

log = logging.getLogger("meterhouse.accept")


class Acceptor:
    """Takes submissions from many requests and commits them in groups."""

    def __init__(
        self,
        stores: Stores,
        claims: Claims,
        clock: Clock,
        metrics: Metrics,
        on_commit: Callable[[int], None],
        partitions: int = 1,
    ) -> None:
        self._stores = stores
        self._claims = claims
        self._partitions = partitions
        self._clock = clock
        self._metrics = metrics
        self._on_commit = on_commit
        self._waiting: deque[_Waiting] = deque()
        self._waiting_events = 0
        self._task: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._unsure = False  # a commit failed, and may have succeeded all the same
        self.journal_events = 0  # acknowledged and not judged, as far as that is known here

    def pack(self, events: Sequence[MeterEvent]) -> tuple[Packed, ...]:
        """Pack the events of a stream for `accept`."""
        return pack(events, self._partitions)

    async def accept(self, submission: Submission | StreamSubmission) -> Answer:
        """Commit a submission to the journal; the answer stands once it is on disk.

        Raises a `Refusal` with status 429 when a queue is full, and whatever the database raises
        when the commit fails.
        """
        queue = self.overloaded()
        if queue is not None:
            self._metrics.overloads.labels(queue).inc()
            raise envelope.overloaded()
        if isinstance(submission, StreamSubmission):
            sent = Sent(submission, submission.events, None)
        else:
            digest = identifier_digest(submission.event.scope, submission.event.identifier)
            sent = Sent(submission, 1, digest, await self._claims.before(digest))
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._wait(_Waiting(sent, future))
        return await future

    def partition_of(self, scope: int, identifier: str) -> int:
        """Return the partition of an identifier's events, and of what is said of them."""
        return partition_of(identifier_digest(scope, identifier), self._partitions)

    def overloaded(self) -> str | None:
        """Return the name of the queue that is full, None when there is room."""
        if self._waiting_events + self._claims.waiting >= limits.ACCEPT_WAITING_EVENTS_MAX:
            return "accept"
        if self.journal_events >= limits.JOURNAL_LAG_EVENTS_MAX:
            return "journal"
        return None

    def _wait(self, waiting: "_Waiting") -> None:
        self._waiting.append(waiting)
        self._waiting_events += waiting.sent.events
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                # Nobody would hear the answer to a request that was given up.
                group = [one for one in self._next_group() if not one.future.done()]
                try:
                    with self._claims.held():
                        await self._commit(self._without_suspects(group))
                except Exception as error:
                    log.exception("a group of submissions failed")
                    _fail(group, error)
        finally:
            self._task = None

    async def _gather(self) -> None:
        """Wait until no more requests arrive; a sender that is alone does not wait.

        A larger group costs hardly more than a small one, and while the event loop is busy with
        requests, the writer would wait for the interpreter lock at every statement.
        """
        before = -1
        while before < self._waiting_events < limits.ACCEPT_GROUP_EVENTS_MAX:
            before = self._waiting_events
            await asyncio.sleep(0)  # their bytes are read in this pass of the event loop,
            await asyncio.sleep(0)  # and their handlers run in the next
            if self._waiting_events > 1:
                await asyncio.sleep(limits.ACCEPT_GATHER_MICROSECONDS / 1_000_000)

    def _next_group(self) -> list["_Waiting"]:
        """Take what goes into one commit: at least one submission, whatever its size.

        Whoever uses the idempotency key of an earlier one has to wait for what becomes of that.
        """
        group: list[_Waiting] = []
        keys = set()
        events = 0
        while self._waiting:
            submission, more, *_ = self._waiting[0].sent
            record = submission.record
            if group and events + more > limits.ACCEPT_GROUP_EVENTS_MAX:
                break
            if record is not None:
                if record.name in keys:
                    break
                keys.add(record.name)
            group.append(self._waiting.popleft())
            events += more
        self._waiting_events -= events
        return group

    def _without_suspects(self, group: list["_Waiting"]) -> list["_Waiting"]:
        """Return those of a group whose identifiers need no question to the usage store.

        The others are asked about meanwhile, and come back with the answer in a later group.
        """
        unasked = [one.sent.digest for one in group if one.sent.digest and not one.sent.asked]
        suspects = set(self._claims.suspects(unasked))
        if not suspects:
            return group
        asked: list[_Waiting] = []
        certain: list[_Waiting] = []
        for one in group:
            suspected = one.sent.asked is None and one.sent.digest in suspects
            (asked if suspected else certain).append(one)
        task = asyncio.create_task(self._ask(asked))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return certain

    async def _ask(self, asked: list["_Waiting"]) -> None:
        """Ask the usage store who took these identifiers, then let the submissions wait again."""
        digests = [one.sent.digest for one in asked if one.sent.digest]
        at = time.monotonic()
        try:
            with self._claims.held():
                found = await self._stores.usage(UsageStore.claims, digests)
                for one in asked:
                    claim = found.get(one.sent.digest or b"")
                    answer = Asked(claim.day if claim else None, at)
                    self._wait(one._replace(sent=one.sent._replace(asked=answer)))
                # The answer holds as long as the claims that were pending stay so.
                await asyncio.wait([one.future for one in asked])
        except Exception as error:  # noqa: BLE001 - each sender hears it and may retry
            _fail(asked, error)

    async def _commit(self, group: list["_Waiting"]) -> None:
        if not group:
            return
        started = time.perf_counter()
        now = self._clock.now()
        try:
            if self._unsure:
                await self._claims.recover(self._stores)
                self._unsure = False
            committed = await self._written(group, now)
        except Exception as error:  # noqa: BLE001 - each sender hears it and may retry
            self._unsure = True
            _fail(group, error)
            return
        if committed.events:
            self._stores.mended()
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        self._metrics.commit_events.observe(committed.events)
        self._metrics.events.labels("acknowledged", "").inc(committed.events)
        self.journal_events += committed.events
        for one, answer in zip(group, committed.answers, strict=True):
            if not one.future.done():
                one.future.set_result(answer)
        if committed.events:
            self._on_commit(committed.last)

    async def _written(self, group: list["_Waiting"], now: int) -> Committed:
        """Commit a group; again where somebody else came first with an idempotency key."""
        sent = [one.sent for one in group]
        for _ in range(limits.ACCEPT_ATTEMPTS_MAX):
            try:
                return await self._stores.write_then(
                    self._note, commit, sent, now, self._claims, self._partitions
                )
            except ConflictError:
                continue
        raise StoreError("Other processes use the same idempotency keys again and again.")

    def _note(self, committed: Committed) -> None:
        self._claims.committed(committed.claims)

    async def drain(self) -> None:
        """Wait until nothing waits for a commit any more."""
        while self._task is not None or self._asking:
            await asyncio.wait({*self._asking, *([self._task] if self._task else [])})


class _Waiting(NamedTuple):
    """A submission that waits for its commit, and who waits for the answer."""

    sent: Sent
    future: asyncio.Future[Answer]


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for one in group:
        if not one.future.done():
            one.future.set_exception(error)
