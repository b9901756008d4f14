import time

from meterhouse.metering.model import Scope
from meterhouse.usage import erase
from meterhouse.usage.erase import Target
from meterhouse.usage.store import UsageStore
from tests.metering.samples import METER
from tests.usage.samples import (
    accepted,
    accepted_blocks,
    cancelled_blocks,
    insert,
    rejected,
    rejected_blocks,
    stored,
)

NOTED = {"stripe_customer_id": "cus_1", "value": "25", "note": "Ada", "it's": "1"}


def target(scope: Scope, *keys: str) -> Target:
    return Target(
        scope=scope, customer="cus_1", keys=keys, customer_keys=("stripe_customer_id", "who")
    )


def changed(store: UsageStore) -> None:
    while erase.left(store):
        time.sleep(0.01)


def payloads(store: UsageStore, scope: Scope, table: str) -> list[dict[str, str]]:
    """Return the payloads that a table has, in the order of their positions."""
    sql = f"""SELECT payload FROM {table}
        WHERE account = {{account:String}} ORDER BY position, payload"""  # noqa: S608
    rows = store.columns(sql, {"account": scope.account}).to_pylist()
    return [dict(row["payload"]) for row in rows]


def test_values_go_from_one_customers_events_alone(store: UsageStore, scope: Scope) -> None:
    scopes = {scope.id: scope}
    mine = accepted(scope, payload=NOTED)
    others = accepted(scope, customer="cus_2", payload=NOTED), accepted(scope, payload={"a": "b"})
    insert(store, accepted_blocks([mine, *others], scopes))
    insert(store, cancelled_blocks([stored(mine, scope)]))
    insert(store, accepted_blocks([accepted(scope, payload=NOTED)], scopes, "duplicate_events"))
    wrong = [
        rejected(scope, "no_meter", payload=NOTED),
        rejected(scope, "no_meter", payload={"who": "cus_1", "note": "Ada"}),
        rejected(scope, "no_meter", payload={"who": "cus_2", "note": "Ada"}),
    ]
    insert(store, rejected_blocks(wrong, scopes))
    before = store.total(scope, METER)

    assert erase.begin(store, target(scope, "note", "it's")) == 5
    changed(store)
    left = {"stripe_customer_id": "cus_1", "value": "25"}
    assert payloads(store, scope, "events") == [left, left, NOTED, {"a": "b"}]
    assert payloads(store, scope, "duplicate_events") == [left]
    assert payloads(store, scope, "rejected_events") == [
        left,
        {"who": "cus_1"},
        {"who": "cus_2", "note": "Ada"},
    ]
    assert store.total(scope, METER) == before
    assert erase.begin(store, target(scope, "note", "it's")) == 0
