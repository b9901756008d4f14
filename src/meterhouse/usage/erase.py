"""The statements that take values out of the events of one customer.

What a reader may rely on:

- Values go by the keys of their payloads, from accepted events and cancellations, duplicates and
  rejected events. Nothing else of an event changes, so usage stays what it was.
- To begin is to ask for it: the engine rewrites the parts of tables beside everything else, and
  goes on after a restart. `left` tells when it has finished. The files of the parts before go
  `USAGE_REPLACED_SECONDS` later, and up to `USAGE_CLEANED_SECONDS_MAX`; `replaced` tells which
  are there.
- Slots are sorted by the values of dimensions, which nobody can change in place: they are rebuilt
  (`jobs.erase`), and `drop_deleted` removes what deletions have only hidden.
"""

from typing import Any

import msgspec

from meterhouse.errors import StoreError
from meterhouse.metering.model import Meter, Scope
from meterhouse.usage import request_logs
from meterhouse.usage.search import NAMED_CUSTOMER, OF_CUSTOMER
from meterhouse.usage.store import UsageStore

_SCOPE = "account = {account:String} AND livemode = {livemode:Bool}"
_WITH_KEYS = f"{_SCOPE} AND hasAny(mapKeys(payload), {{keys:Array(String)}})"

# By table: which rows lose values.
_TABLES = {
    "events": f"{_WITH_KEYS} AND {OF_CUSTOMER}",
    "duplicate_events": f"{_WITH_KEYS} AND {OF_CUSTOMER}",
    "rejected_events": f"{_WITH_KEYS} AND {NAMED_CUSTOMER}",
}
_COUNT = "SELECT count() AS events FROM %s WHERE %s"
_ERASE = """
ALTER TABLE %s
UPDATE payload = mapFilter((key, value) -> NOT has({keys:Array(String)}, key), payload)
WHERE %s
"""
_BESIDE = {"mutations_sync": 0}

_LEFT = """
SELECT count() AS events, anyIf(latest_fail_reason, latest_fail_reason != '') AS problem
FROM system.mutations
WHERE database = currentDatabase() AND NOT is_done
"""

_SLOTS_TELL = """
SELECT count() AS events
FROM usage_slots
WHERE meter = {meter:String}
    AND version = {version:UInt32}
    AND customer = {customer:String}
    AND arrayExists(place -> dimensions[place] != '', {places:Array(UInt32)})
"""
_DROP_DELETED = "ALTER TABLE usage_slots APPLY DELETED MASK"

_QUOTING = f"""{_SCOPE}
    AND error != ''
    AND (path = {{path:String}} OR startsWith(path, {{below:String}}))"""
_FORGET = f"ALTER TABLE {request_logs.TABLE} UPDATE error = '' WHERE {_QUOTING}"

_REPLACED = """
SELECT concat(table, ' ', name) AS part
FROM system.parts
WHERE database = currentDatabase() AND NOT active
"""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The values to erase: those of a customer's events that stand under `keys`.

    `customer_keys` are all payload keys under which the meters of the account find a customer.
    """

    scope: Scope
    customer: str
    keys: tuple[str, ...]
    customer_keys: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        """Return what the statements bind."""
        return {
            "account": self.scope.account,
            "livemode": self.scope.livemode,
            "customer": self.customer,
            "keys": list(self.keys),
            "customer_keys": list(self.customer_keys),
        }


def begin(store: UsageStore, target: Target) -> int:
    """Begin to erase; return how many events have such values."""
    found = 0
    for table, rows in _TABLES.items():
        count = _first(store, _COUNT % (table, rows), target.values())["events"]
        if count:
            store.change(_ERASE % (table, rows), target.values(), _BESIDE)
        found += count
    return found


def left(store: UsageStore) -> int:
    """Return how many changes of tables are not finished; raises `StoreError` when one fails."""
    told = store.rows_of_each(_LEFT, {})
    problem = next((one["problem"] for one in told if one["problem"]), None)
    if problem is not None:
        raise StoreError(f"The usage store cannot change what it has: {problem}")
    return sum(one["events"] for one in told)


def slots_tell(store: UsageStore, meter: Meter, customer: str, keys: tuple[str, ...]) -> bool:
    """Tell whether slots of a customer have values of these dimensions."""
    places = [place for place, key in enumerate(meter.dimension_keys or (), 1) if key in keys]
    values = {
        "meter": meter.id,
        "version": meter.dimension_version,
        "customer": customer,
        "places": places,
    }
    return bool(_first(store, _SLOTS_TELL, values)["events"])


def drop_deleted(store: UsageStore) -> None:
    """Begin to remove slots that were deleted."""
    store.change(_DROP_DELETED, {}, _BESIDE)


def forget_requests(store: UsageStore, scope: Scope, customer: str) -> int:
    """Begin to erase what was wrong with requests about a customer; return how many there are.

    It may quote them.
    """
    path = f"/v1/customers/{customer}"
    values = {"account": scope.account, "livemode": scope.livemode, "path": path}
    values |= {"below": f"{path}/"}
    found: int = _first(store, _COUNT % (request_logs.TABLE, _QUOTING), values)["events"]
    if found:
        store.change(_FORGET, values, _BESIDE)
    return found


def replaced(store: UsageStore) -> set[str]:
    """Return the parts of tables that are replaced, and whose files are there."""
    return {row["part"] for row in store.rows_of_each(_REPLACED, {})}


def _first(store: UsageStore, sql: str, values: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = store.columns(sql, values).to_pylist()[0]
    return row
