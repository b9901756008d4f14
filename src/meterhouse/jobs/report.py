"""Report: rejected events of a closed window become error reports, one for each meter.

- A report and the removal of the lines that it was made of are one transaction, so every rejected
  event is counted in exactly one report, whatever is killed and when.
- A window is reported `REPORT_DELAY_SECONDS` after it closes, when all events that were
  acknowledged in it are judged. Where judging takes longer than can be waited for, what comes late
  makes another report of the same window.
"""

import asyncio
import logging

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.clock import Clock
from meterhouse.errors import OvertakenError
from meterhouse.ledger import accounts, outbox, rejections
from meterhouse.metering import report
from meterhouse.metering.report import RejectionLine
from meterhouse.metering.window import MILLISECONDS
from meterhouse.processing.stillness import Settle
from meterhouse.stores import Stores
from meterhouse.wire.ids import new_id
from meterhouse.wire.notification import Notification
from meterhouse.wire.timestamp import print_timestamp

log = logging.getLogger("meterhouse.report")

_APART = limits.CLOCK_APART_MINUTES_MAX * MILLISECONDS["minute"]
_DUE = (limits.REPORT_WINDOW_SECONDS + limits.REPORT_DELAY_SECONDS) * 1000


class Reporter(Background):
    """Emits the reports of each window when they are due.

    `settle(seconds)` waits until what was acknowledged is judged.
    """

    def __init__(self, stores: Stores, clock: Clock, settle: Settle) -> None:
        super().__init__()
        self._stores = stores
        self._clock = clock
        self._settle = settle

    async def report(self) -> int:
        """Emit the reports that are due; return how many there were."""
        now = self._clock.now()
        await self._settle(limits.REPORT_SETTLE_SECONDS_MAX)
        count = 0
        while made := await self._stores.write(_emit_due, now - _DUE, self._clock.now()):
            count += made
        return count

    async def _run(self) -> None:
        while True:
            # A window that comes due while we work is reported right after.
            due = _next_due(self._clock.now())
            try:
                count = await self.report()
            except OvertakenError:
                return
            except Exception:
                log.exception("error reports could not be emitted; they will be tried again")
                await asyncio.sleep(limits.REPORT_RETRY_SECONDS)
                continue
            log.debug("%d error reports were emitted", count)
            await asyncio.sleep((due - self._clock.now()) / 1000)


def _next_due(now: int) -> int:
    """Return the instant after `now` at which the next window is due."""
    return now + report.WINDOW - (now - _DUE) % report.WINDOW


def _emit_due(connection: sa.Connection, newest: int, now: int) -> int:
    """Emit reports of the oldest window that begins at `newest` or before; return how many.

    A window that lies far ahead of `now` was brought about by a wrong clock, and is due as well.
    """
    window = rejections.due_window(connection, newest, now + _APART)
    if window is None:
        return 0
    taken = rejections.take(connection, window, limits.REPORT_CHUNK_ROWS_MAX)
    scopes = accounts.scopes_by_id(connection)
    for lines in taken:
        livemode = scopes[lines[0].scope].livemode
        outbox.emit(connection, error_report(lines, livemode=livemode, now=now))
    return len(taken)


def error_report(lines: list[RejectionLine], *, livemode: bool, now: int) -> Notification:
    """Return the report of the lines of one scope, meter and window."""
    first = lines[0]
    unmatched = Notification(
        id=new_id("evt_thin", livemode),
        scope=first.scope,
        payload="thin",
        type=report.OF_NO_METER,
        created=now,
        body={
            "developer_message_summary": report.summary(lines),
            "reason": report.reason(lines),
            "validation_start": print_timestamp(first.window_start),
            "validation_end": print_timestamp(first.window_start + report.WINDOW),
        },
    )
    if first.meter == report.NO_METER:
        return unmatched
    return msgspec.structs.replace(
        unmatched,
        type=report.OF_METER,
        object_id=first.meter,
        object_type="billing.meter",
        object_url=f"/v1/billing/meters/{first.meter}",
    )
