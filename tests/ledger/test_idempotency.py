import msgspec

from meterhouse.ledger import idempotency
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.idempotency import Record
from meterhouse.wire.version import Api


def record(key: str, expires_at: int, api: Api = "v1", scope: int = 1) -> Record:
    return Record(scope, api, key, b"f", "req_1", 200, b"{}", expires_at)


def keys(ledger: Ledger, api: Api = "v1") -> list[str]:
    with ledger.read() as connection:
        return sorted(idempotency.find(connection, 1, api, ("a", "b", "c")))


def test_a_key_names_a_request_within_one_api_of_one_scope(ledger: Ledger) -> None:
    stored = [record("a", 1), record("a", 2, "v2"), record("a", 3, scope=2), record("b", 4)]
    with ledger.write() as connection:
        idempotency.put(connection, stored)
    with ledger.read() as connection:
        assert idempotency.find(connection, 1, "v1", ("a", "b", "x")) == {
            "a": stored[0],
            "b": stored[3],
        }
        assert idempotency.find(connection, 1, "v2", ("a", "b")) == {"a": stored[1]}
        assert idempotency.find(connection, 2, "v1", ("a", "b")) == {"a": stored[2]}


def test_what_is_forgotten_can_be_put_again(ledger: Ledger) -> None:
    with ledger.write() as connection:
        idempotency.put(connection, [record("a", 1), record("a", 1, "v2")])
        idempotency.forget(connection, [record("a", 1)])
    assert (keys(ledger), keys(ledger, "v2")) == ([], ["a"])
    with ledger.write() as connection:
        idempotency.put(connection, [record("a", 2)])


def test_an_answer_that_shows_a_customer_shows_what_is_left(ledger: Ledger) -> None:
    stored = [
        msgspec.structs.replace(record(key, 1, scope=scope), customer=customer)
        for key, scope, customer in (("a", 1, "cus_1"), ("b", 1, "cus_2"), ("c", 2, "cus_1"))
    ]
    with ledger.write() as connection:
        idempotency.put(connection, stored)
        idempotency.erase_customer(connection, 1, "cus_1", {"id": "cus_1", "deleted": True})
    erased = msgspec.structs.replace(stored[0], body=b'{"id":"cus_1","deleted":true}')
    with ledger.read() as connection:
        assert idempotency.find(connection, 1, "v1", "ab") == {"a": erased, "b": stored[1]}
        assert idempotency.find(connection, 2, "v1", "c") == {"c": stored[2]}


def test_records_go_when_they_expire_whatever_came_first(ledger: Ledger) -> None:
    with ledger.write() as connection:
        idempotency.put(connection, [record("a", 30, "v2"), record("b", 10), record("c", 20)])
        assert idempotency.expire(connection, 9, 10) == 0
        assert idempotency.expire(connection, 10, 10) == 1
    assert keys(ledger) == ["c"]
    with ledger.write() as connection:
        assert idempotency.expire(connection, 30, 1) == 1
    assert (keys(ledger), keys(ledger, "v2")) == ([], ["a"])
    with ledger.write() as connection:
        assert idempotency.expire(connection, 30, 1) == 1
        assert idempotency.expire(connection, 30, 1) == 0
