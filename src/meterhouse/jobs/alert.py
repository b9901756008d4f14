"""Alert: whoever has used as much as an alert says is told of, once; or is billed early.

What a reader may rely on:

- What batches have used is evaluated once the usage store has it, batch by batch or several at
  once. When all that was acknowledged is evaluated, every step has been triggered, once, whose
  total is reached; and none that was not reached after any batch. One that was reached and taken
  back again by a cancellation, before it was evaluated, may have been triggered or not.
- A trigger, its event, and the end of what brought it about are on disk together, so nothing is
  lost or told twice, whatever is killed and when.
- Whoever has reached a threshold of a subscription is invoiced before that is forgotten
  (`invoicing.threshold`).
- Totals are exact: they are asked for, of many customers at once, where one may have reached a
  step. What is kept in memory only spares questions (`jobs.alert_totals`).
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Worker, is_set_within
from meterhouse.billing.alert import Alert, Measure, Trigger
from meterhouse.errors import OvertakenError
from meterhouse.invoicing.threshold import Touched, check
from meterhouse.invoicing.turn import Terms
from meterhouse.jobs.alert_watch import Asked, Reached, Watch
from meterhouse.ledger import accounts, alert_triggers, alerts, meters, outbox, test_clocks, touches
from meterhouse.ledger.announce import About, Cause, both
from meterhouse.ledger.touches import Ready
from meterhouse.ledger.watched_meters import all_watched
from meterhouse.metering.model import Meter
from meterhouse.metering.usage import PeriodQuery
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.render.alert import render_triggered
from meterhouse.stores import Stores
from meterhouse.usage import block
from meterhouse.usage.store import UsageStore
from meterhouse.usage.touched import merged
from meterhouse.wire.ids import new_id
from meterhouse.wire.notification import Notification

log = logging.getLogger("meterhouse.alert")

TRIGGERED = "billing.alert.triggered"


class Alerter(Worker):
    """Evaluates what batches have used, and looks once in a while for more of it."""

    def __init__(self, stores: Stores, timekeeper: Timekeeper, terms: Terms) -> None:
        super().__init__()
        self._stores = stores
        self._timekeeper = timekeeper
        self._terms = terms
        self._watch = Watch()
        self._thresholds: frozenset[str] = frozenset()  # meters

    async def evaluate(self) -> bool:
        """Evaluate some of what is ready; False where nothing is."""
        try:
            return await self._evaluate()
        except BaseException:
            # What is known of totals goes by triggers that may not be on disk.
            self._watch = Watch()
            raise

    async def _run(self) -> None:
        while True:
            self._work.clear()
            try:
                while await self.evaluate():
                    pass
            except OvertakenError:
                return
            except Exception:
                log.exception("alerts could not be evaluated and will be tried again")
                await asyncio.sleep(limits.ALERT_RETRY_SECONDS)
                continue
            waited_for = self._watch or self._thresholds
            look = limits.ALERT_LOOK_MILLISECONDS if waited_for else limits.ALERT_IDLE_MILLISECONDS
            await is_set_within(self._work, look / 1000)

    async def _evaluate(self) -> bool:
        ready, changed, self._thresholds = await self._stores.read(_see, self._watch.revision)
        self._watch.change(changed)
        if not ready.seqs:
            return False
        rows = await asyncio.to_thread(_merged, ready)
        known = await self._stores.read(meters.by_ids, rows["meter"].dictionary.to_pylist())
        asked = await asyncio.to_thread(self._watch.asked, rows, known)
        reached = await self._reached(asked)
        touched = await asyncio.to_thread(_touched, rows, known, self._thresholds)
        if touched:  # who waits to be told does not wait until others are billed
            await self._tell(reached, [])
            await self._bill(touched)
            reached = []
        await self._tell(reached, ready.seqs)
        return True

    async def _tell(self, reached: Sequence[Reached], done: Sequence[int]) -> None:
        """Tell of steps that are reached, and be done with what brought it about."""
        size = limits.ALERT_WRITE_ROWS_MAX
        for start in range(0, max(len(reached), 1), size):
            last = start + size >= len(reached)
            some, now = reached[start : start + size], self._timekeeper.now()
            if some or done:
                await self._stores.write(_trigger, some, done if last else [], now)

    async def _bill(self, touched: Collection[Touched]) -> None:
        """Invoice those early who have reached a threshold."""
        if self._stores.shared:
            await self._stores.usage(UsageStore.sync)
        await check(self._stores, self._terms, self._timekeeper.now(), touched)

    async def _reached(self, asked: Sequence[Asked]) -> list[Reached]:
        """Ask for totals; return the steps that were not known to be reached."""
        if asked and self._stores.shared:
            await self._stores.usage(UsageStore.sync)
        scopes = await self._stores.read(accounts.scopes_by_id)
        found: list[Reached] = []
        for some in _alike(asked):
            questions = [
                PeriodQuery(one.meter, one.customer, *one.period, one.group.measure.dimensions)
                for one in some
            ]
            scope = scopes[some[0].meter.scope]
            totals = await self._stores.usage(UsageStore.periods, scope, questions)
            for one, total in zip(some, totals, strict=True):
                found += one.group.reached(one, total.usage)
        before = await self._stores.read(alert_triggers.known, [_key(one) for one in found])
        return [one for one in found if _key(one) not in before]


def _see(connection: sa.Connection, revision: int) -> tuple[Ready, list[Alert], frozenset[str]]:
    """Return what can be evaluated, the alerts that have changed since a revision, and meters.

    They are those that have thresholds.
    """
    ready = touches.ready(connection, limits.ALERT_TOUCHES_ROWS_MAX)
    thresholds = all_watched(connection)
    if alerts.newest_revision(connection) == revision:
        return ready, [], thresholds
    return ready, alerts.changed_since(connection, revision), thresholds


def _merged(ready: Ready) -> pa.RecordBatch:
    return merged([block.read(body) for body in ready.bodies])


def _touched(
    rows: pa.RecordBatch, known: Mapping[str, Meter], thresholds: frozenset[str]
) -> list[Touched]:
    """Return who has used something of meters that have thresholds."""
    own = thresholds & known.keys()
    if not own:
        return []
    rows = rows.filter(pc.is_in(rows["meter"], value_set=pa.array(sorted(own), pa.string())))
    pairs = zip(rows["meter"].to_pylist(), rows["customer"].to_pylist(), strict=True)
    return [(known[meter].scope, meter, customer) for meter, customer in pairs]


def _alike(asked: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Return those together whose totals are asked for in one question, not too many at a time."""
    groups: defaultdict[tuple[int, Measure], list[Asked]] = defaultdict(list)
    for one in asked:
        groups[one.meter.scope, one.group.measure].append(one)
    for some in groups.values():
        for start in range(0, len(some), limits.ALERT_ASKED_ROWS_MAX):
            yield some[start : start + limits.ALERT_ASKED_ROWS_MAX]


def _key(one: Reached) -> alert_triggers.Reached:
    return alert_triggers.Reached(one.alert.id, one.customer, one.period.start, one.number)


def _trigger(
    connection: sa.Connection, reached: Sequence[Reached], done: Sequence[int], now: int
) -> None:
    """Trigger alerts, those that are still as they were; and be done with what brought it about."""
    current = alerts.by_ids(connection, {one.alert.id for one in reached})
    pairs = {(one.alert.scope, one.customer) for one in reached}
    frozen = test_clocks.frozen_times(connection, pairs) if pairs else {}
    scopes = accounts.scopes_by_id(connection)
    told: list[Notification] = []
    for one in reached:
        if current[one.alert.id] != one.alert:
            continue  # by what it is now, it was not evaluated
        trigger = Trigger(
            id=new_id("alrtg"),
            scope=one.alert.scope,
            alert=one.alert.id,
            customer=one.customer,
            step=one.number,
            period_start=one.period.start,
            period_end=one.period.end,
            gte=one.step.gte,
            value=one.total,
            created=frozen.get((one.alert.scope, one.customer), now),
        )
        if alert_triggers.put(connection, trigger):
            told += _told(Cause(scopes[one.alert.scope], now), one.alert, trigger)
    outbox.emit_all(connection, told)
    touches.release(connection, done)


def _told(cause: Cause, alert: Alert, trigger: Trigger) -> list[Notification]:
    document = render_triggered(alert, trigger, livemode=cause.scope.livemode)
    about = About(alert.id, "billing.alert", f"/v1/billing/alerts/{alert.id}")
    return both(cause, TRIGGERED, {"object": document}, about)
