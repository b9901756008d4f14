"""Retain: what is over its time leaves both stores, by a clock that is late rather than wrong.

Idempotency records and sessions of the dashboard leave the ledger when they expire; notifications,
resends, erasures and activity after their days; claims that the usage store has had for a while;
sessions of Stripe CLIs that none of several servers keeps any more.
Each transaction deletes few rows, so that no acknowledgement waits long behind it. The usage store
drops whole partitions: of identifiers after the deduplication window, of rejected events,
duplicates and request logs after their days. Nothing of this can be taken back, so the clock is
the timekeeper's (`processing.timekeeper`).
"""

import asyncio
import logging
from collections import deque
from datetime import UTC, datetime

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.clock import Clock
from meterhouse.errors import OvertakenError
from meterhouse.identifiers.index import Identifiers
from meterhouse.ledger import (
    activity,
    audit,
    dashboard_sessions,
    erasures,
    idempotency,
    listeners,
    notifications,
    partitions,
    recent_claims,
    resends,
)
from meterhouse.metering.window import MILLISECONDS
from meterhouse.stores import Stores
from meterhouse.usage import request_logs
from meterhouse.usage.store import UsageStore

_ACTIVITY = limits.ACTIVITY_DAYS * MILLISECONDS["day"]
_ERASURES = limits.ERASURES_DAYS * MILLISECONDS["day"]
_NOTIFICATIONS = limits.NOTIFICATIONS_DAYS * MILLISECONDS["day"]
_RECENT_CLAIM = limits.RECENT_CLAIM_MINUTES * MILLISECONDS["minute"]
_REJECTED_EVENTS = limits.REJECTED_EVENTS_DAYS * MILLISECONDS["day"]
_REQUEST_LOGS = limits.REQUEST_LOG_DAYS * MILLISECONDS["day"]
_RESENDS = limits.RESENDS_DAYS * MILLISECONDS["day"]

log = logging.getLogger("meterhouse.retain")


class Retention(Background):
    """Sweeps both stores every `RETAIN_INTERVAL_SECONDS`."""

    def __init__(
        self, stores: Stores, identifiers: Identifiers, clock: Clock, audit_days: int
    ) -> None:
        super().__init__()
        self._audit_log = audit_days * MILLISECONDS["day"]
        self._stores = stores
        self._identifiers = identifiers
        self._clock = clock
        self._stored: deque[tuple[int, int]] = deque()  # when seen, and up to when all was stored

    async def sweep(self) -> int:
        """Delete everything that is over its time; return how many rows left the ledger."""
        now = self._clock.now()
        rejected, logs = now - _REJECTED_EVENTS, now - _REQUEST_LOGS
        for table, partition in (
            ("identifiers", self._identifiers.first_day_kept(now)),
            ("rejected_events", _number(rejected, "%Y%m")),
            ("duplicate_events", _number(rejected, "%Y%m")),
            (request_logs.TABLE, _number(logs, "%Y%m%d")),
        ):
            await self._stores.usage(UsageStore.drop_before, table, partition)
        gone = 0
        for expire, before in (
            (idempotency.expire, now),
            (dashboard_sessions.expire, now),
            (notifications.expire, now - _NOTIFICATIONS),
            (resends.expire, now - _RESENDS),
            (erasures.expire, now - _ERASURES),
            (activity.expire, now - _ACTIVITY),
            (audit.expire, now - self._audit_log),
            (recent_claims.expire, await self._stored_for_long(now)),
            (listeners.expire, now if self._stores.shared else 0),
        ):
            chunk = limits.RETAIN_CHUNK_ROWS_MAX
            while chunk == limits.RETAIN_CHUNK_ROWS_MAX:
                chunk = await self._stores.write(expire, before, limits.RETAIN_CHUNK_ROWS_MAX)
                gone += chunk
        return gone

    async def _stored_for_long(self, now: int) -> int:
        """Return an instant: claims made before it have been in the usage store for a while.

        It lies as long before what was seen to be stored then, for a claim is made before its
        commit.
        """
        if not self._stores.shared:
            return 0  # there are none
        self._stored.append((now, await self._stores.read(partitions.stored_until)))
        while len(self._stored) > 1 and self._stored[1][0] <= now - _RECENT_CLAIM:
            self._stored.popleft()
        seen, stored_until = self._stored[0]
        return stored_until - _RECENT_CLAIM if seen <= now - _RECENT_CLAIM else 0

    async def _run(self) -> None:
        while True:
            try:
                gone = await self.sweep()
            except OvertakenError:
                return
            except Exception:
                log.exception("a sweep failed and will be tried again")
            else:
                log.debug("a sweep deleted %d rows", gone)
            await asyncio.sleep(limits.RETAIN_INTERVAL_SECONDS)


def _number(instant: int, form: str) -> int:
    """Return the number of the partition that holds an instant; `form` is its strftime form."""
    return int(datetime.fromtimestamp(instant / 1000, UTC).strftime(form))
