"""Verify: derive the books anew from what is on disk, and say where they disagree.

- For every scope `acknowledged = accepted + duplicate + rejected + pending`, where acknowledged and
  the outcomes are the ledger's tallies and pending is counted in the journal.
- The usage store holds every accepted event once, every cancellation once, and no position twice.
- No identifier counts twice within the deduplication window.
- Every rejected event is in an error report, or waits for one.
- The usage of every meter is what the payloads of its events say, added up anew.
- The slots of every month hold what its events come to, where a meter has slots.
- The balance of every credit grant is the sum of its transactions, and the lines of every invoice
  tell of the credits that were applied to it.

Processing stands still while the two stores are compared; events are acknowledged meanwhile. Any
process may verify, where several share a ledger: it asks all of them to stand still.
"""

import asyncio
import logging
from collections import defaultdict
from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.errors import DisturbedError, StoreError
from meterhouse.ledger import (
    accounts,
    adjustments,
    credit_books,
    journal,
    meters,
    rejections,
    tallies,
    timekeeping,
)
from meterhouse.metering.model import Meter, Scope
from meterhouse.metering.window import MILLISECONDS
from meterhouse.processing.stillness import Still
from meterhouse.stores import Stores
from meterhouse.usage.store import Counts, UsageStore

# As long as this every rejected event is in the usage store, and in a report or waiting for one.
_KEPT = min(limits.REJECTED_EVENTS_DAYS, limits.NOTIFICATIONS_DAYS) * MILLISECONDS["day"]

log = logging.getLogger("meterhouse.verify")


class Books(NamedTuple):
    """One consistent view of what the ledger says."""

    scopes: dict[int, Scope]
    tallies: dict[tallies.Line, int]
    pending: dict[int, int]
    cancelled: dict[int, int]
    reported: dict[int, int]
    meters: list[Meter]
    since: int
    furthest: int | None  # that retention may ever have gone by


class Verification:
    """One verification at a time; `state` tells how far it is and what it found."""

    def __init__(
        self,
        stores: Stores,
        still: Still,
        clock: Clock,
        deduplication_days: int,
    ) -> None:
        """Compare `stores`; within `still()` nobody changes anything in both."""
        self._stores = stores
        self._still = still
        self._clock = clock
        self._days = deduplication_days
        self._task: asyncio.Task[None] | None = None
        self._become("idle")

    def state(self) -> dict[str, Any]:
        """Return status, step, progress, a line for each scope, and the problems as sentences."""
        return {
            "status": self._status,
            "step": self._step,
            "done": self._done,
            "total": self._total,
            "lines": [*self._lines],
            "problems": [*self._problems],
        }

    def start(self) -> None:
        """Begin, unless a verification is running."""
        if self._task is None or self._task.done():
            self._become("running")
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End it where it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _become(self, status: str) -> None:
        """Be at the beginning of something."""
        self._status = status
        self._step = ""
        self._done = self._total = 0
        self._lines: list[dict[str, Any]] = []
        self._problems: list[str] = []

    async def _run(self) -> None:
        try:
            self._step = "Finishing what is half-way"
            async with self._still():
                await self._compare()
        except (DisturbedError, StoreError) as error:
            self._problems.append(str(error))
            self._status = "failed"
        except Exception:
            log.exception("a verification failed")
            self._problems.append("An unexpected error occurred; the log tells more.")
            self._status = "failed"
        else:
            self._status = "unbalanced" if self._problems else "balanced"

    async def _compare(self) -> None:
        self._step = "Reading the ledger"
        books = await self._stores.read(read_books)
        self._step = "Counting the usage store"
        await self._stores.usage(UsageStore.sync)
        counts = await self._stores.usage(UsageStore.counts)
        furthest = self._clock.now() if books.furthest is None else books.furthest
        exact = books.since > furthest - _KEPT
        for scope in books.scopes.values():
            line, problems = check_scope(
                books, scope, counts.get((scope.account, scope.livemode), Counts()), exact=exact
            )
            if line is not None:
                self._lines.append(line)
            self._problems += problems
        await self._check_credits(books)
        await self._check_identifiers()
        await self._check_meters(books, counts)

    async def _check_credits(self, books: Books) -> None:
        """Add up the transactions of credit grants anew."""
        self._step, rows = "Adding up credits", limits.VERIFY_CREDITS_ROWS
        for one in await self._stores.read(credit_books.wrong_balances, rows):
            self._problems.append(
                f"{_of(books.scopes[one.scope])}: {one.told} are left of the grant {one.id}, "
                f"but its credit transactions come to {one.total}."
            )
        after: str | None = ""
        while after is not None:
            wrong, after = await self._stores.read(credit_books.wrong_invoices, after, rows)
            self._problems += [
                f"{_of(books.scopes[one.scope])}: credits pay {one.told} of the invoice {one.id}, "
                f"but {one.total} were applied to it."
                for one in wrong
            ]

    async def _check_identifiers(self) -> None:
        """Name identifiers that count twice; there are none, unless something is wrong with us."""
        self._step = "Looking for identifiers that count twice"
        twice = await self._stores.usage(
            UsageStore.counted_twice, self._days, limits.VERIFY_IDENTIFIERS_ROWS_MAX
        )
        self._problems += [
            f"{one.account} {mode(one.livemode)}: {one.times} accepted events have the identifier "
            f"{one.identifier!r}."
            for one in twice
        ]

    async def _check_meters(self, books: Books, counts: dict[tuple[str, bool], Counts]) -> None:
        """Add the usage of each meter up anew from the payloads of its events."""
        self._step, self._total = "Adding up the usage of each meter", len(books.meters)
        events: defaultdict[tuple[str, bool], int] = defaultdict(int)
        for meter in books.meters:
            scope = books.scopes[meter.scope]
            total = await self._stores.usage(UsageStore.total, scope, meter)
            events[scope.account, scope.livemode] += total.events
            if total.stored != total.derived:
                self._problems.append(
                    f"{meter.id} ({meter.event_name}): the stored values add up to {total.stored}, "
                    f"those in the payloads to {total.derived}."
                )
            if meter.slotted:
                self._problems += await self._check_slots(scope, meter)
            self._done += 1
        for (account, livemode), count in counts.items():
            stray = count.accepted - events[account, livemode]
            if stray:
                self._problems.append(
                    f"{account} {mode(livemode)}: {stray} stored events belong to no meter."
                )

    async def _check_slots(self, scope: Scope, meter: Meter) -> list[str]:
        """Compare the slots of a meter with its events, month by month."""
        return [
            f"{meter.id} ({meter.event_name}): {one.events} events of "
            f"{one.month // 100}-{one.month % 100:02} come to {one.usage}, "
            f"but {one.kind} of {one.slot_events} events to {one.slot_usage}."
            for one in await self._stores.usage(UsageStore.unlike_slots, scope, meter)
        ]


def mode(livemode: bool) -> str:
    """Return the name of a mode."""
    return "live" if livemode else "test"


def read_books(connection: sa.Connection) -> Books:
    """Read what the ledger says, in one view."""
    scopes = accounts.scopes_by_id(connection)
    known = timekeeping.read(connection)
    return Books(
        scopes,
        tallies.read(connection),
        journal.pending_by_scope(connection),
        adjustments.complete_by_scope(connection),
        rejections.accounted(connection),
        meters.all_meters(connection),
        min((account.created for account in accounts.list_accounts(connection)), default=0),
        None if known is None else known.furthest,
    )


def check_scope(
    books: Books, scope: Scope, counts: Counts, *, exact: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the line of a scope, None where nothing ever happened, and what is wrong with it.

    `exact` tells that no rejected event, and no report of one, can have left a store by its age.
    """
    outcomes: defaultdict[str, int] = defaultdict(int)
    rejected: dict[str, int] = {}
    for line, events in books.tallies.items():
        if line.scope == scope.id:
            outcomes[line.outcome] += events
            if line.code:
                rejected[line.code] = events
    pending, cancelled = books.pending.get(scope.id, 0), books.cancelled.get(scope.id, 0)
    settled = outcomes["accepted"] + outcomes["duplicate"] + outcomes["rejected"]
    problems = [
        *_differ("acknowledged events", outcomes["acknowledged"], "outcomes", settled + pending),
        *_differ("accepted events", outcomes["accepted"], "stored ones", counts.accepted),
        *_differ("cancellations", cancelled, "stored ones", counts.cancelled),
        *_differ("positions with the wrong number of outcomes", counts.wrong_positions, "", 0),
    ]
    reported = books.reported.get(scope.id, 0)
    if reported > outcomes["rejected"] or (exact and reported < outcomes["rejected"]):
        problems += _differ("rejected events", outcomes["rejected"], "in error reports", reported)
    for code in rejected.keys() | counts.rejected.keys():
        told, stored = rejected.get(code, 0), counts.rejected.get(code, 0)
        if stored > told or (exact and stored < told):
            problems += _differ(f"events rejected as {code}", told, "stored ones", stored)
    where = _of(scope)
    if not any(outcomes.values()) and not problems:
        return None, []
    return {
        "account": scope.account,
        "mode": mode(scope.livemode),
        "acknowledged": outcomes["acknowledged"],
        "accepted": outcomes["accepted"],
        "duplicate": outcomes["duplicate"],
        "rejected": outcomes["rejected"],
        "pending": pending,
        "cancelled": cancelled,
    }, [f"{where}: {problem}" for problem in problems]


def _of(scope: Scope) -> str:
    return f"{scope.account} {mode(scope.livemode)}"


def _differ(what: str, told: int, other: str, found: int) -> list[str]:
    if told == found:
        return []
    return [f"{told} {what}, but {found} {other}.".replace(" .", ".")]
