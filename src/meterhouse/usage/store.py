"""The usage store: the record of accepted usage, and of what was rejected.

What a reader may rely on:

- One program: a `chdb://` URL opens the ClickHouse engine inside this process, any other a server,
  or a cluster of them. The statements are the same.
- `insert` takes a block whole or not at all, and has it on disk once `confirm` has returned, too;
  on a cluster, what each shard gets of it.
- Answers are exact, and hold every block whose insert had returned before the question; on a
  cluster also those of others, where `sync` has been called.
- A store may be used from several threads: writes go one after the other, and questions wait for
  nobody but those of their own lane. None takes longer than the lane lets it.
- Whatever goes wrong is a `StoreError` that tells what and where, but nothing of the data.
"""

import contextlib
import copy
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as DriverError

from meterhouse.config import shown
from meterhouse.errors import SlowError, StoreError, UnwrittenError
from meterhouse.lanes import Interrupt, LaneName
from meterhouse.limits import (
    USAGE_ASKED_DIGESTS_MAX,
    USAGE_QUERY_BYTES_MAX,
    USAGE_SPILL_BYTES,
    USAGE_SPILL_LEFT_BYTES,
    WORK_STATEMENT_SECONDS_MAX,
)
from meterhouse.metering import meter_usage
from meterhouse.metering.identifier import Claim
from meterhouse.metering.meter_usage import MeterUsageQuery, UsageRow
from meterhouse.metering.model import Meter, Scope, StoredEvent
from meterhouse.metering.search import EventSearch, FoundEvent
from meterhouse.metering.usage import PeriodQuery, PeriodUsage, SummaryPoint, SummaryQuery
from meterhouse.metering.window import Window, window_of
from meterhouse.usage import (
    block,
    cluster,
    counted,
    crossing,
    folder,
    periods,
    queries,
    request_logs,
    search,
    selection,
)
from meterhouse.usage.connect import Address, address_of
from meterhouse.usage.readers import Readers
from meterhouse.usage.request_logs import RequestLog
from meterhouse.usage.search import Page, RejectedKind
from meterhouse.usage.shards import Shard, Shards, open_shards

SESSION_SETTINGS = {
    "async_insert": 0,  # an asynchronous insert returns before its rows are on disk
    "optimize_on_insert": 0,  # the rows of a block are distinct already
    "max_memory_usage": USAGE_QUERY_BYTES_MAX,
    "max_bytes_before_external_group_by": USAGE_SPILL_BYTES,
    # A grouping whose writes failed would come back smaller (decision 19).
    "min_free_disk_space_for_temporary_data": USAGE_SPILL_LEFT_BYTES,
    # Compiling pays for long scans; here it only makes one question in some 30 ms slower.
    "compile_expressions": 0,
    "compile_aggregate_expressions": 0,
    # Decimals leave as text. Integers do not, which former servers would do unasked.
    "output_format_json_quote_decimals": 1,
    "output_format_json_quote_64bit_integers": 0,
    # A server goes on for nobody otherwise, when our process is gone.
    "cancel_http_readonly_queries_on_client_close": 1,
    "max_execution_time": WORK_STATEMENT_SECONDS_MAX,
}

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("meterhouse.usage")


class Counts(msgspec.Struct):
    """How many events of one account in one mode the store holds.

    `cancelled` of the `accepted` events were cancelled; `rejected` counts by code what retention
    has left; `wrong_positions` counts positions that have not exactly one outcome, or that were
    cancelled more than once, and must be 0.
    """

    accepted: int = 0
    cancelled: int = 0
    rejected: dict[str, int] = msgspec.field(default_factory=dict)
    wrong_positions: int = 0


class Total(msgspec.Struct):
    """A meter's accepted events and its usage, without what was cancelled.

    `stored` adds up the values as they are stored, `derived` what the payloads say once more.
    """

    events: int
    stored: Decimal
    derived: Decimal


class Unlike(msgspec.Struct):
    """A month, such as 202611, of which the slots say something else than the events.

    `kind` names these slots: those of each customer, of all, or of all without dimensions.
    Cancelled events count neither in the one nor in the other.
    """

    month: int
    kind: str
    events: int
    usage: Decimal
    slot_events: int
    slot_usage: Decimal


class Twice(msgspec.Struct):
    """An identifier that several accepted events have, within the days in which one may."""

    account: str
    livemode: bool
    identifier: str
    times: int


class _Usage(msgspec.Struct):
    window_start: int
    usage: Decimal


class _ClaimRow(msgspec.Struct):
    high: int
    low: int
    position: int
    day: int


class _ClaimDay(msgspec.Struct):
    day: int
    claims: int


class _Partition(msgspec.Struct):
    number: int


class _Held(msgspec.Struct):
    rows: int


class _Failed(msgspec.Struct):
    writes: int


class _SetAside(msgspec.Struct):
    part: str


class _EventCount(msgspec.Struct):
    account: str
    livemode: bool
    accepted: int
    cancelled: int


class _RejectedCount(msgspec.Struct):
    account: str
    livemode: bool
    code: str
    events: int


class _WrongCount(msgspec.Struct):
    account: str
    livemode: bool
    positions: int


class UsageStore:
    """The open store; `open` makes one.

    `place` is where it is, for people; `unwritten` is set once `confirm` has found that the engine
    did not write all that it took, `closed` once nothing more is asked of it.
    """

    def __init__(self, address: Address, shards: Shards) -> None:
        self.unwritten = Event()
        self.closed = False
        self.place = address.place
        self._shards = shards
        self._asked: dict[str, Interrupt] = {}
        self._lane: LaneName = "work"
        self._interrupt = Interrupt()

    @classmethod
    def open(cls, url: str) -> "UsageStore":
        """Open the store at `url`, and create what is missing: the folder and the tables.

        Raises `StoreError` when the store cannot be opened, for example because another process
        holds its folder.
        """
        address = address_of(url)
        for link in folder.mend(address.folder) if address.folder is not None else ():
            log.warning(
                "%s was lost by a copy, or became a folder; it is a link again", shown(link)
            )
        with _opening(address), contextlib.ExitStack() as opened:
            shards = open_shards(address, SESSION_SETTINGS)
            opened.callback(shards.close)
            store = cls(address, shards)
            store._begin()
            opened.pop_all()
        return store

    @property
    def path(self) -> Path | None:
        """The folder of the engine inside this process; None where a server has the store."""
        return self._shards.folder

    def each_shard(self) -> "list[UsageStore]":
        """Return a store of each shard, which asks it alone, and lasts as long as this one."""
        return [self._of(shard) for shard in self._shards.every]

    def _of(self, shard: Shard) -> "UsageStore":
        one = copy.copy(self)
        shards = Shards([shard], shard.readers, replicated=self._shards.replicated)
        vars(one).update(_shards=shards)
        return one

    def ask(
        self,
        question: str,
        lane: LaneName,
        work: "Callable[Concatenate[UsageStore, P], T]",
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(store, …)`, whose questions go by a lane; `end(question)` ends it early."""
        interrupt = self._asked[question] = Interrupt()
        asking = copy.copy(self)
        vars(asking).update(_lane=lane, _interrupt=interrupt)
        try:
            return work(asking, *args, **kwargs)
        finally:
            del self._asked[question]

    def end(self, question: str) -> None:
        """End a question, if it has begun and is not over."""
        interrupt = self._asked.get(question)
        if interrupt is not None:
            interrupt.come()

    def insert(self, destination: str, body: bytes, token: str) -> None:
        """Insert a block that was not inserted before.

        `destination` and `body` are those of a `Block`, `token` names it. Whether the block is
        there after a `StoreError`, or after a crash, nobody knows: `insert_again` makes sure.
        """
        for piece in self._shards.pieces(destination, body, token):
            self._insert(piece.shard, destination, piece.body, piece.token)

    def confirm(self) -> None:
        """Make sure that all that was written so far is on disk, by inserts, changes and merges.

        The engine inside this process goes on when a write fails, for example because the disk is
        full, and only counts it. Nobody knows then what of a part there is, until another process
        opens the folder and every part is checked. Raises `UnwrittenError`, from then on always.
        """
        if self.path is not None and self._ask(queries.FAILED_WRITES, {}, _Failed):
            self.unwritten.set()
            raise UnwrittenError(
                f"The usage store at {self.place} did not write all that it took; another process "
                "has to open it. Is its disk full?"
            )

    def insert_again(self, destination: str, body: bytes, token: str) -> None:
        """Insert a block that may have been inserted before, so that it is there exactly once.

        The engine's own memory of tokens is not enough. It notes a token just before it commits
        the rows, so a crash in between leaves a token without its rows; and it does not flush the
        note, so a loss of power leaves rows without their token
        (https://github.com/ClickHouse/ClickHouse/issues/111577). A block is there whole or not at
        all, so its first row tells, once the replica that is asked has caught up. The token still
        matters where an insert that was given up on is under way in a server: so the first try is
        under the block's own, and only what is not there after that comes under another.
        """
        for piece in self._shards.pieces(destination, body, token):
            for attempt in (piece.token, f"{piece.token}-{secrets.token_hex(8)}"):
                if self._holds(piece.shard, destination, piece.body):
                    break
                self._insert(piece.shard, destination, piece.body, attempt)

    def holds(self, destination: str, body: bytes) -> bool:
        """Tell whether a block was inserted."""
        pieces = self._shards.pieces(destination, body, "")
        return all(self._holds(piece.shard, destination, piece.body) for piece in pieces)

    def sync(self) -> None:
        """Wait until answers hold what others have stored so far.

        They do so anyhow in the engine and on a single server.
        """
        if self._shards.replicated:
            for shard in self._shards.every:
                self._on(shard.readers, cluster.catch_up)

    def find(self, scope: Scope, meter: str, position: int) -> StoredEvent | None:
        """Return the event of a meter (its id) at a position, cancelled or not."""
        found = self.find_all(scope, meter, [position])
        return found[0] if found else None

    def find_all(self, scope: Scope, meter: str, positions: Sequence[int]) -> list[StoredEvent]:
        """Return the events of a meter (its id) at some positions, cancelled or not."""
        values = _scope_values(scope) | {"meter": meter, "positions": list(positions)}
        return self._ask(queries.EVENTS_AT, values, StoredEvent)

    def claims(self, digests: Sequence[bytes]) -> dict[bytes, Claim]:
        """Return the newest claim on each of these digests that was ever claimed."""
        found: dict[bytes, Claim] = {}
        wanted = set(digests)
        for start in range(0, len(digests), USAGE_ASKED_DIGESTS_MAX):
            some = digests[start : start + USAGE_ASKED_DIGESTS_MAX]
            highs = [int.from_bytes(digest[:8], "little") for digest in some]
            for row in self._ask_each(queries.CLAIMS, {"highs": highs}, _ClaimRow):
                digest = row.high.to_bytes(8, "little") + row.low.to_bytes(8, "little")
                before = found.get(digest)
                if digest in wanted and (before is None or before.position < row.position):
                    found[digest] = Claim(digest, row.position, row.day)
        return found

    def claim_days(self, since: int) -> list[tuple[int, int]]:
        """Return each day from `since` on that has claims, and how many."""
        rows = self._ask(queries.CLAIM_DAYS, {"since": since}, _ClaimDay)
        return [(row.day, row.claims) for row in rows]

    def claimed_on(
        self, day: int, piece: int, pieces: int, partitions: int, wanted: Sequence[int]
    ) -> bytes:
        """Return the first 8 bytes of every digest claimed on a day, one of `pieces` at a time.

        Those of the `wanted` of so many partitions of the journal are returned.
        """
        first, last = (2**64 * number // pieces for number in (piece, piece + 1))
        values: dict[str, Any] = {"day": day, "first": first, "last": last - 1}
        values |= {"partitions": partitions, "wanted": list(wanted)}
        return self._read(queries.CLAIMED_ON, values, "RowBinary")

    def drop_before(self, table: str, partition: int) -> int:
        """Drop what a table has in partitions before one; return how many partitions went."""
        values = {"table": table, "before": partition}
        dropped: set[int] = set()
        for shard in self._shards.every:
            for row in self._ask_at(shard, queries.PARTITIONS_OVER, values, _Partition):
                with self._trouble("dropped nothing"), shard.writer() as client:
                    client.command(f"ALTER TABLE {table} DROP PARTITION {row.number}")
                dropped.add(row.number)
        self.confirm()
        return len(dropped)

    def summaries(self, query: SummaryQuery) -> list[SummaryPoint]:
        """Answer a question as `metering.usage.summarize` does, from what is stored."""
        sql, values = queries.summary(query)
        rows = self._ask(sql, values, _Usage)
        if query.window is None:
            return [SummaryPoint(query.start, query.end, rows[0].usage if rows else Decimal(0))]
        return [SummaryPoint(*window_of(row.window_start, query.window), row.usage) for row in rows]

    def periods(self, scope: Scope, questions: Sequence[PeriodQuery]) -> list[PeriodUsage]:
        """Answer questions of one scope, each as a summary of its range, in their order."""

        def read(sql: str, values: dict[str, Any]) -> list[periods.Row]:
            return _decoded(self._read(sql, values, "JSONCompactEachRow"), periods.Row)

        return periods.answer(scope, questions, read)

    def meter_usage(self, query: MeterUsageQuery) -> list[UsageRow]:
        """Answer a question about meter usage.

        More than `METER_USAGE_ROWS_MAX` rows tell that there are too many to tell them all.
        """
        return selection.rows(query, self.found(query))

    def found(self, query: MeterUsageQuery) -> list[bytes]:
        """Return what `selection.rows` makes the answer to a question of.

        That is bytes, which cost less on their way out of this process than rows do.
        """
        plan = meter_usage.plan(query, meter_usage.windows_of(query))
        if not plan.stretches:
            return [b""] * len(plan.selections)
        statements = (selection.select(query, plan, one) for one in plan.selections)
        return [self._read(*statement, "JSONCompactEachRow") for statement in statements]

    def columns(self, sql: str, values: dict[str, Any]) -> pa.Table:
        """Run a statement of this room that reads; return its answer in columns."""
        with pa.ipc.open_stream(self._read(sql, values, "ArrowStream")) as stream:
            return stream.read_all()

    def rows_of_each(self, sql: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """Run a statement that reads about the tables of a server, once for each shard."""
        return self._ask_each(sql, values, dict[str, Any])

    def change(self, sql: str, values: dict[str, Any], settings: dict[str, Any]) -> None:
        """Run a statement of this room that changes rows, beside what inserts and asks.

        Each shard changes its own rows.
        """
        for shard in self._shards.every:
            with self._trouble("changed nothing"), self._reader(shard) as client:
                client.command(sql, parameters=values, settings=settings)
        self.confirm()

    def total(self, scope: Scope, meter: Meter) -> Total:
        """Add up a meter's usage, from the values as stored and from the payloads anew.

        On a meter that counts, a payload need not have a value: there, only events are counted.
        """
        values = _scope_values(scope) | {"meter": meter.id, "value_key": meter.value_key}
        [total] = self._ask(queries.TOTAL, values, Total)
        if meter.formula == "count":
            return Total(total.events, total.stored, total.stored)
        return total

    def unlike_slots(self, scope: Scope, meter: Meter) -> list[Unlike]:
        """Return the months in which a meter's slots do not say what its events do."""
        values = _scope_values(scope) | {"meter": meter.id, "version": meter.dimension_version}
        return self._ask(queries.UNLIKE_SLOTS, values, Unlike)

    def counted_twice(self, days: int, rows_max: int) -> list[Twice]:
        """Return identifiers that count more than once, though they may only once in so many days.

        It goes by all accepted events, whatever is left of their claims.
        """
        [repeated] = self._ask(queries.ANY_REPEATED, {}, _Held)
        if not repeated.rows:
            return []
        return self._ask(queries.COUNTED_TWICE, {"days": days, "rows_max": rows_max}, Twice)

    def search(self, wanted: EventSearch, page: Page) -> list[FoundEvent]:
        """Return the events that a search is for, whatever became of them, in a page's order.

        Of rejected events `customer` is empty and `value` None; `metering.search.filled` reads
        them.
        """
        found: list[FoundEvent] = []
        if wanted.outcome == "pending":
            return found
        for stretch in search.pages(page, whole=wanted.named):
            rest = stretch._replace(rows_max=page.rows_max - len(found))
            found += self._ask(*search.find(wanted, rest), FoundEvent)
            if len(found) == page.rows_max:
                break
        return found

    def events_of(
        self, range_: counted.Range, beyond: counted.Place | None, rows_max: int, *, oldest: bool
    ) -> list[FoundEvent]:
        """Return a page of the events of a range, cancelled or not, by their timestamps."""
        return self._ask(*counted.page(range_, beyond, rows_max, oldest=oldest), FoundEvent)

    def counting(
        self, range_: counted.Range, upto: counted.Place, positions: Sequence[int]
    ) -> counted.Counting:
        """Tell which events at these positions count, and what the range comes to up to a place."""
        [found] = self._ask(*counted.counting(range_, upto, positions), counted.Counting)
        return found

    def crossing(self, asked: crossing.Crossed) -> crossing.Crossing | None:
        """Return the event at which a total reached a step, by what counts now."""
        found = self._ask(*crossing.first(asked), crossing.Crossing)
        return found[0] if found else None

    def count_rejected(self, wanted: EventSearch, page: Page) -> int:
        """Count the identifiers of the rejected events that a search is for."""
        [count] = self._ask(*search.count_rejected(wanted, page), search.Count)
        return count.events

    def newest(self, wanted: EventSearch, outcome: str, page: Page) -> dict[str, int]:
        """Return, for each identifier, the position of its newest event with an outcome."""
        rows = self._ask(*search.newest(wanted, outcome, page), search.Newest)
        return {row.identifier: row.newest for row in rows}

    def kinds_of_rejections(
        self, wanted: EventSearch, rows_max: int
    ) -> tuple[list[RejectedKind], list[FoundEvent]]:
        """Return kinds of rejected events, that which came last first, and their newest events."""
        kinds = self._ask(*search.rejected_kinds(wanted, rows_max), RejectedKind)
        positions = tuple(position for kind in kinds for position in kind.newest)
        samples = msgspec.structs.replace(wanted, positions=positions)
        return kinds, self.search(samples, search.EVERYTHING) if positions else []

    def overwritten_by(self, scope: Scope, event: FoundEvent, window: Window) -> str | None:
        """Return the identifier of the event that counts in a window instead of an earlier one."""
        values = _scope_values(scope) | {
            "meter": event.meter,
            "customer": event.customer,
            "start": window.start,
            "end": window.end,
            "position": event.position,
        }
        found = self._ask(search.OVERWRITTEN_BY, values, search.Newest)
        return found[0].identifier if found else None

    def find_request_log(self, scope: Scope, request: str) -> RequestLog | None:
        """Return the log of a request (its id)."""
        found = self._ask(*request_logs.find(scope, request), RequestLog)
        return found[0] if found else None

    def request_logs(self, query: request_logs.Query) -> list[RequestLog]:
        """Return the logs that a query asks for, newest first."""
        rows = self._ask(*request_logs.select(query), RequestLog)
        return rows[::-1] if query.before else rows

    def counts(self) -> dict[tuple[str, bool], Counts]:
        """Count what is stored for each account and mode, from the rows themselves."""
        found: defaultdict[tuple[str, bool], Counts] = defaultdict(Counts)
        for events in self._ask(queries.COUNT_EVENTS, {}, _EventCount):
            counts = found[events.account, events.livemode]
            counts.accepted, counts.cancelled = events.accepted, events.cancelled
        for rejected in self._ask(queries.COUNT_REJECTED_EVENTS, {}, _RejectedCount):
            found[rejected.account, rejected.livemode].rejected[rejected.code] = rejected.events
        for wrong in self._ask(queries.COUNT_WRONG_POSITIONS, {}, _WrongCount):
            found[wrong.account, wrong.livemode].wrong_positions = wrong.positions
        return dict(found)

    def close(self) -> None:
        """Finish what has begun and let the folder go."""
        self.closed = True
        self._shards.close()

    def _begin(self) -> None:
        """Tell of what was found broken."""
        self.confirm()
        for one in self._ask_each(queries.SET_ASIDE, {}, _SetAside):
            log.error(
                "part of a table was broken and has been set aside: %s; parts that it was merged "
                "from were loaded instead where they were left; `meterhouse verify` tells whether "
                "anything is missing",
                one.part,
            )

    def _insert(self, shard: Shard, table: str, body: bytes, token: str) -> None:
        with self._trouble("took no block"), shard.writer() as client:
            client.raw_insert(
                table,
                insert_block=body,
                fmt="ArrowStream",
                settings={"insert_deduplication_token": token},
            )

    def _holds(self, shard: Shard, table: str, body: bytes) -> bool:
        """Tell whether a shard has a piece; the replica that is asked has caught up by then."""

        def look(client: Client) -> bytes:
            if self._shards.replicated:
                cluster.sync(client, table)
            return client.raw_query(queries.HOLDS[table], block.first_row(body), fmt="JSONEachRow")

        [held] = _decoded(self._on(shard.readers, look), _Held)
        return held.rows > 0

    def _ask(self, sql: str, values: dict[str, Any], row: type[T]) -> list[T]:
        """Run a statement on a reader that is idle, and read its answer as rows."""
        return _decoded(self._read(sql, values, "JSONEachRow"), row)

    def _ask_each(self, sql: str, values: dict[str, Any], row: type[T]) -> list[T]:
        """Run a statement once for each shard."""
        shards = self._shards.every
        return [found for shard in shards for found in self._ask_at(shard, sql, values, row)]

    def _ask_at(self, shard: Shard, sql: str, values: dict[str, Any], row: type[T]) -> list[T]:
        """Run a statement on a shard."""

        def ask(client: Client) -> bytes:
            return client.raw_query(sql, parameters=values, fmt="JSONEachRow")

        return _decoded(self._on(shard.readers, ask), row)

    def _read(self, sql: str, values: dict[str, Any], format_: str) -> bytes:
        return self._on(
            self._shards.questions,
            lambda client: client.raw_query(sql, parameters=values, fmt=format_),
        )

    def _on(self, readers: Readers, work: Callable[[Client], T]) -> T:
        """Wait for a reader of our lane, and keep it for one question, which may be ended."""
        with self._trouble("gave no answer"):
            return readers.ask(self._lane, self._interrupt, work)

    def _reader(self, shard: Shard) -> contextlib.AbstractContextManager[Client]:
        return shard.readers.one(self._lane, self._interrupt)

    def _trouble(self, happened: str) -> contextlib.AbstractContextManager[None]:
        return _trouble(f"The usage store at {self.place} {happened}")


def _decoded(answer: bytes, row: type[T]) -> list[T]:
    return msgspec.json.Decoder(row).decode_lines(answer)


def _scope_values(scope: Scope) -> dict[str, Any]:
    return {"account": scope.account, "livemode": scope.livemode}


@contextlib.contextmanager
def _opening(address: Address) -> Iterator[None]:
    """Tell who has the folder, where that is why it cannot be opened."""
    try:
        with _trouble(f"The usage store at {address.place} cannot open"):
            yield
    except StoreError as error:
        user = address.user()
        if user is None:
            raise
        raise StoreError(
            f"The usage store at {address.place} is in use by {user}, and a folder serves "
            "one process at a time. Stop that one, or choose another folder with --clickhouse-url "
            "or --data-dir."
        ) from error


@contextlib.contextmanager
def _trouble(sentence: str) -> Iterator[None]:
    try:
        yield
    except (DriverError, OSError) as error:
        if isinstance(error, DriverError) and error.name == "TIMEOUT_EXCEEDED":
            raise SlowError(f"{sentence} in time: {error}") from error
        raise StoreError(f"{sentence}: {error}") from error
