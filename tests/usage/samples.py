"""Rows that the tests of this room share. No two events in one store share a position."""

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
from clickhouse_connect.driver.client import Client

from meterhouse.metering.model import Meter, Scope, StoredEvent
from meterhouse.usage import block
from meterhouse.usage.block import Block, Destination
from meterhouse.usage.slots import slots
from meterhouse.usage.store import UsageStore
from tests.metering.rows import AcceptedEvent, RejectedEvent, accepted_columns, rejected_columns
from tests.metering.samples import event

_positions = itertools.count(1)
_tokens = itertools.count(1)
_scopes = itertools.count(1)

STORED_FROM_EVENT = ("timestamp", "received_at", "event_name", "identifier", "payload")


def new_scope() -> Scope:
    """Open books that no other test writes in."""
    number = next(_scopes)
    return Scope(number, f"acct_{number}", livemode=False)


def accepted(
    scope: Scope,
    value: str = "25",
    *,
    position: int | None = None,
    meter: str = "mtr_1",
    customer: str = "cus_1",
    **changes: Any,
) -> AcceptedEvent:
    """Make an accepted event; `changes` are those of the meter event in it."""
    made = event(scope=scope.id, **changes)
    place = next(_positions) if position is None else position
    return AcceptedEvent(place, made, meter, customer, Decimal(value))


def rejected(scope: Scope, code: str, **changes: Any) -> RejectedEvent:
    return RejectedEvent(next(_positions), event(scope=scope.id, **changes), None, code, "Why.")


def stored(row: AcceptedEvent, scope: Scope) -> StoredEvent:
    """Tell how the store must hold an accepted event."""
    fields = {name: getattr(row.event, name) for name in STORED_FROM_EVENT}
    return StoredEvent(
        position=row.position,
        account=scope.account,
        livemode=scope.livemode,
        meter=row.meter,
        customer=row.customer,
        value=row.value,
        **fields,
    )


def next_position() -> int:
    return next(_positions)


def next_token() -> str:
    return f"token-{next(_tokens)}"


def writer(store: UsageStore) -> Client:
    """Return the client that writes, for statements that are no business of the store's."""
    with store._shards.every[0].writer() as client:
        return client


def forget_slots(store: UsageStore) -> None:
    """Empty the table of slots, which tells meters apart by their ids alone: tests share these."""
    store.change("TRUNCATE TABLE usage_slots", {}, {})


def event_rows(rows: Sequence[AcceptedEvent], scopes: Mapping[int, Scope]) -> pa.RecordBatch:
    """Make the columns that the store has of accepted events."""
    return block.accepted(accepted_columns(rows), scopes)


def accepted_blocks(
    rows: Sequence[AcceptedEvent],
    scopes: Mapping[int, Scope],
    destination: Destination = "events",
) -> list[Block]:
    """Pack accepted events, or duplicates."""
    instant = "timestamp" if destination == "events" else "received_at"
    return block.pack(
        destination, block.by_month(block.accepted(accepted_columns(rows), scopes), instant)
    )


def cancelled_blocks(rows: Sequence[StoredEvent]) -> list[Block]:
    """Pack cancellations."""
    return block.pack("events", block.by_month(block.cancelled(rows), "timestamp"))


def rejected_blocks(rows: Sequence[RejectedEvent], scopes: Mapping[int, Scope]) -> list[Block]:
    """Pack rejected events."""
    months = block.by_month(block.rejected(rejected_columns(rows), scopes), "received_at")
    return block.pack("rejected_events", months)


def slot_blocks(
    events: pa.RecordBatch, meters: Mapping[str, Meter], batch: int, partition: int = 0
) -> list[Block]:
    """Pack what the events and cancellations of a batch of a partition come to."""
    months = block.by_month(events, "timestamp")
    return block.pack("usage_slots", slots(months, meters, partition, batch))


def insert(store: UsageStore, blocks: Sequence[Block]) -> None:
    for one in blocks:
        store.insert(one.destination, one.body, next_token())
