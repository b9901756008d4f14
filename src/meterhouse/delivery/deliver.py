"""Deliver: what is owed goes to its destinations, to each at its own pace.

- A delivery is pending in the ledger until what came of its attempt is recorded there. So a kill
  forgets nothing; a receiver may hear of the same event twice. Nor is anything recorded by who
  does not deliver any more: it is attempted again by who does.
- At most `DELIVERY_DESTINATION_ATTEMPTS_MAX` attempts to one destination go on at a time, and one
  only after an attempt that failed: however slow or dead a destination is, no other waits for it.
- What came of attempts is recorded in one transaction for all that ended meanwhile.
- What is due for a destination that is disabled or deleted by then is cancelled.
- Nothing is given up because of a clock that is doubted (`timekeeper`, which is late rather than
  wrong): it is tried again, once in `DELIVERY_DOUBT_WAIT_SECONDS`, until the clock is believed.
- A destination is disabled when a delivery to it is given up and nothing has arrived there for
  `DESTINATION_FAILING_DAYS_MAX` days.
"""

import asyncio
import logging
from collections.abc import Mapping
from operator import itemgetter
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Worker, is_set_within
from meterhouse.clock import Clock
from meterhouse.delivery.attempt import Sender
from meterhouse.delivery.schedule import LONGEST_WAIT, next_attempt
from meterhouse.errors import OvertakenError
from meterhouse.ledger import deliveries
from meterhouse.ledger.deliveries import Attempt, Debt, Owed, Step
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.deliver")

_OK = range(200, 300)
_DAYS = limits.DESTINATION_FAILING_DAYS_MAX
_NONE: frozenset[str] = frozenset()


class Due(NamedTuple):
    """What to attempt now, what to cancel, and when more is due, if that is known."""

    attempts: list[Owed]
    cancelled: list[Step]
    next_at: int | None


class Deliverer(Worker):
    """Delivers from `start()` to `stop()`, once; it closes the sender."""

    def __init__(
        self, stores: Stores, clock: Clock, timekeeper: Clock, metrics: Metrics, sender: Sender
    ) -> None:
        super().__init__()
        self._stores = stores
        self._clock = clock
        self._timekeeper = timekeeper
        self._metrics = metrics
        self._sender = sender
        self._attempts: set[asyncio.Task[None]] = set()
        self._under_way: dict[str, set[str]] = {}  # deliveries by their destination
        self._failing: set[str] = set()  # destinations whose last attempt failed
        self._ended: list[tuple[Owed, Step]] = []
        self._recording = asyncio.Lock()

    async def stop(self) -> None:
        """Let attempts end, for a while; what has not arrived by then stays owed."""
        if self._task is None:
            return
        await super().stop()
        if self._attempts:
            _, late = await asyncio.wait(self._attempts, timeout=limits.STOP_DELIVERIES_SECONDS_MAX)
            for attempt in late:
                attempt.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._sender.close()

    async def _run(self) -> None:
        await self._open()
        recalled = False
        while True:
            self._work.clear()
            try:
                if not recalled:
                    await self._recall()
                    recalled = True
                seconds = await self._begin()
            except OvertakenError:
                return
            except Exception:
                log.exception("what is due could not be read, and will be read again")
                seconds = limits.DELIVERY_RETRY_SECONDS
            await is_set_within(self._work, seconds)

    async def _open(self) -> None:
        """Open the sender, however often it takes: its environment may be put right meanwhile."""
        while True:
            try:
                await asyncio.to_thread(self._sender.open)
            except OSError as error:  # of TLS as well
                log.error(  # noqa: TRY400 - it tells all
                    "nothing can be delivered: the certificates to trust cannot be read (%s); do "
                    "SSL_CERT_FILE and SSL_CERT_DIR lead to them?",
                    error,
                )
                await asyncio.sleep(limits.DELIVERY_LOOK_SECONDS_MAX)
            else:
                return

    async def _recall(self) -> None:
        """Make due what another process has put off by a clock that was far ahead."""
        if self._stores.shared:
            await self._stores.write(deliveries.recall, self._clock.now(), LONGEST_WAIT)

    async def _begin(self) -> float:
        """Begin the attempts that are due; return how long to wait for the next."""
        now = self._clock.now()
        under_way = {destination: frozenset(ids) for destination, ids in self._under_way.items()}
        free = limits.DELIVERY_ATTEMPTS_MAX - sum(map(len, under_way.values()))
        due = await self._stores.read(_due, now, under_way, frozenset(self._failing), free)
        if due.cancelled:
            await self._stores.write(deliveries.record, due.cancelled, now)
            self.wake()
        if due.attempts and self._stores.shared:
            await self._stores.write(_nothing)  # which fails where another process delivers by now
        for owed in due.attempts:
            self._under_way.setdefault(owed.destination.id, set()).add(owed.delivery.id)
            attempt = asyncio.create_task(self._attempt(owed))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)
        if due.next_at is None:
            return limits.DELIVERY_LOOK_SECONDS_MAX
        return min((due.next_at - now) / 1000, limits.DELIVERY_LOOK_SECONDS_MAX)

    async def _attempt(self, owed: Owed) -> None:
        try:
            attempt = await self._sender.attempt(owed)
        except Exception:
            log.exception("the delivery %s failed through a fault of ours", owed.delivery.id)
            attempt = Attempt(
                at=self._clock.now(),
                status=None,
                duration_ms=0,
                error="a fault of the sender's; its log tells more",
                response="",
            )
        self._ended.append((owed, self._step(owed, attempt)))
        async with self._recording:
            while self._ended:  # whoever comes first records for all who came meanwhile
                await self._record()

    def _step(self, owed: Owed, attempt: Attempt) -> Step:
        """Say what an attempt makes of its delivery."""
        if attempt.status in _OK:
            return Step(owed.debt, attempt, "delivered", None)
        again = _again(owed, self._clock.now(), self._timekeeper.now())
        return Step(owed.debt, attempt, "failed" if again is None else "pending", again)

    async def _record(self) -> None:
        ended, self._ended = self._ended, []
        try:
            steps = [step for _, step in ended]
            reached = self._timekeeper.now()
            disabled = await self._stores.write(deliveries.record, steps, reached)
        except OvertakenError:
            return
        except Exception:
            log.exception("what came of deliveries could not be recorded, and will be recorded")
            self._ended = ended + self._ended
            await asyncio.sleep(limits.DELIVERY_RETRY_SECONDS)
            return
        for owed, step in ended:
            self._note(owed, step)
        for destination in disabled:
            log.warning("disabled %s: nothing has arrived there for %d days", destination, _DAYS)
        self.wake()

    def _note(self, owed: Owed, step: Step) -> None:
        destination = owed.destination.id
        under_way = self._under_way[destination]
        under_way.remove(step.debt.delivery)
        if not under_way:
            del self._under_way[destination]
        if step.status == "delivered":
            self._failing.discard(destination)
        else:
            self._failing.add(destination)
        self._metrics.delivery_attempts.labels(step.status).inc()
        if step.status == "failed":
            log.warning("gave up the delivery %s to %s", step.debt.delivery, destination)


def _nothing(_: sa.Connection) -> None:
    pass


def _again(owed: Owed, now: int, reached: int) -> int | None:
    """Return when to try again what failed `now`; None where it is given up.

    `reached` is earlier than `now` while the clock is doubted.
    """
    delivery, attempts = owed.delivery, owed.delivery.attempts + 1
    livemode, created = owed.origin.livemode, delivery.created
    again = next_attempt(attempts, livemode=livemode, created=created, now=now)
    if again is not None or reached >= now:
        return again
    late = next_attempt(attempts, livemode=livemode, created=created, now=max(reached, created))
    return None if late is None else now + limits.DELIVERY_DOUBT_WAIT_SECONDS * 1000


def _due(
    connection: sa.Connection,
    now: int,
    under_way: Mapping[str, frozenset[str]],
    failing: frozenset[str],
    free: int,
) -> Due:
    """Find what there is to do, as far as there is room for it; who waits longest comes first."""
    attempts: list[Debt] = []
    cancelled: list[Debt] = []
    later: list[int] = []
    for destination, exists, first in sorted(deliveries.waiting(connection), key=itemgetter(2)):
        if first > now:
            later.append(first)
            continue
        busy = under_way.get(destination, _NONE)
        most = 1 if destination in failing else limits.DELIVERY_DESTINATION_ATTEMPTS_MAX
        room = min(most - len(busy), free - len(attempts))
        room = max(room, 0) if exists else limits.DELIVERY_CANCEL_ROWS_MAX
        debts = deliveries.debts(connection, destination, len(busy) + room + 1)
        waiting = [debt for debt in debts if debt.delivery not in busy]
        ready = [debt for debt in waiting[:room] if debt.due <= now]
        (attempts if exists else cancelled).extend(ready)
        # What is due and finds no room needs no clock: an attempt that ends makes room for it.
        later.extend(debt.due for debt in waiting[len(ready) :][:1] if debt.due > now)
    return Due(
        deliveries.owed(connection, attempts),
        [Step(debt, None, "cancelled", None) for debt in cancelled],
        min(later, default=None),
    )
