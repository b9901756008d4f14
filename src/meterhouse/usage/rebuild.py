"""The statements that rebuild a meter's slots from its events, a piece at a time.

What a reader may rely on:

- A piece is what the events of one month come to whose positions lie in a range, or what all
  cancellations of that month do. A piece that was given up on may be there in part, and its rest
  may come later; so it is done again in another version, and `clear_abandoned` takes away what
  there is of those before.
- Its rows are of no batch, so they prove of no block of the judge's that it is in (`usage.slots`).
- Pieces may be equal, which the engine must not take for a repetition.
- A piece is made of all events that were stored before it is asked for, by whomever.
- The rows without dimensions are as they were, whatever dimensions a meter has.
"""

# ruff: noqa: S608 - the statements are put together from the constants of this module alone

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from meterhouse.metering.model import Scope
from meterhouse.usage.queries import METER_KEYS, RANGE
from meterhouse.usage.slots import WHOLE
from meterhouse.usage.store import UsageStore

_EVENTS = "sign = 1 AND position > {after:UInt64} AND position <= {last:UInt64}"
_CANCELLATIONS = "sign = -1"

# A key that is not in a set is empty, which is the customer of the rows of all.
_ADD = f"""
INSERT INTO usage_slots
    (meter, version, customer, slot, dimensions, events, value)
SELECT
    meter,
    {{version:UInt32}},
    customer,
    toStartOfFifteenMinutes(timestamp) AS slot,
    arrayMap(key -> payload[key], CAST({{keys:Array(String)}}, 'Array(String)')) AS dimensions,
    sum(sign),
    sum(toDecimal256(value, 15) * sign)
FROM events
WHERE {METER_KEYS} AND {RANGE} AND %s
GROUP BY GROUPING SETS (
    (meter, customer, slot, dimensions),
    (meter, slot, dimensions)
)
"""

# On one thread, so that whoever asks meanwhile finds another.
_SETTINGS = {"insert_deduplicate": 0, "max_threads": 1}

_CLEAR_ABANDONED = """
DELETE FROM usage_slots
WHERE meter = {meter:String} AND version > {former:UInt32} AND version < {version:UInt32}
"""
_CLEAR_FORMER = f"""
DELETE FROM usage_slots
WHERE meter = {{meter:String}} AND version < {{version:UInt32}} AND version != {WHOLE}
"""

_MONTHS = f"""
SELECT toYYYYMM(timestamp) AS number, count() AS events
FROM events
WHERE {METER_KEYS} AND %s
GROUP BY number
ORDER BY number
"""


class Month(msgspec.Struct, frozen=True):
    """A UTC month, such as 202611, and how many events there are of it."""

    number: int
    events: int


class Slots(msgspec.Struct, frozen=True):
    """The slots of one version of a meter: its id, the version, the keys of its dimensions."""

    scope: Scope
    meter: str
    version: int
    keys: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """Return what the statements bind."""
        return {
            "account": self.scope.account,
            "livemode": self.scope.livemode,
            "meter": self.meter,
            "version": self.version,
            "keys": list(self.keys),
        }


class Positions(NamedTuple):
    """The positions from `after` on, without it, up to `last`."""

    after: int
    last: int


def find_months(store: UsageStore, slots: Slots, among: Positions | None) -> list[Month]:
    """Return the months of the events at these positions, or of all cancellations."""
    store.sync()
    found = store.columns(*months(slots, among))
    return [Month(**row) for row in found.to_pylist()]


def months(slots: Slots, among: Positions | None) -> tuple[str, dict[str, Any]]:
    """Return the statement that finds these months, and its values."""
    return _MONTHS % _wanted(among), slots.values() | _bounds(among)


def add_month(store: UsageStore, slots: Slots, month: int, among: Positions | None) -> None:
    """Add the slots of the events of a month at these positions, or of all its cancellations."""
    values = slots.values() | _range(month) | _bounds(among)
    store.sync()
    store.change(_ADD % _wanted(among), values, _SETTINGS)


def clear_abandoned(store: UsageStore, slots: Slots, former: int) -> None:
    """Take away the slots of the versions between the former one and this."""
    store.change(_CLEAR_ABANDONED, slots.values() | {"former": former}, {})


def clear_former(store: UsageStore, slots: Slots) -> None:
    """Take away the slots of all former versions."""
    store.change(_CLEAR_FORMER, slots.values(), {})


def _wanted(among: Positions | None) -> str:
    return _CANCELLATIONS if among is None else _EVENTS


def _bounds(among: Positions | None) -> dict[str, Any]:
    return {} if among is None else among._asdict()


def _range(month: int) -> dict[str, Any]:
    start = datetime(*divmod(month, 100), 1, tzinfo=UTC)
    end = (start + timedelta(days=31)).replace(day=1)
    return {"start": round(start.timestamp()) * 1000, "end": round(end.timestamp()) * 1000}
