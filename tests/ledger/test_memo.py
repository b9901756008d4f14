from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.memo import forget, remembered, remembered_by_ids


def test_what_was_read_is_known_until_the_transaction_ends(ledger: Ledger) -> None:
    read = iter(range(10))
    for first in (0, 1):
        with ledger.write() as connection:
            for _ in range(3):
                connection.exec_driver_sql("SELECT 1")
                assert remembered(connection, "key", lambda: next(read)) == first
    with ledger.write() as connection:
        connection.exec_driver_sql("SELECT 1")
        assert remembered(connection, "key", lambda: next(read)) == 2
        forget(connection)
        assert remembered(connection, "key", lambda: next(read)) == 3


def test_only_what_is_missing_is_asked_for(ledger: Ledger) -> None:
    asked: list[set[str]] = []

    def read(ids: object) -> dict[str, int]:
        assert isinstance(ids, list)
        asked.append(set(ids))
        return {id_: len(id_) for id_ in ids if id_ != "none"}

    with ledger.write() as connection:
        connection.exec_driver_sql("SELECT 1")
        for ids, found in (
            (("a", "bb"), {"a": 1, "bb": 2}),
            (("bb", "ccc", "none"), {"bb": 2, "ccc": 3}),
            (("none", "a"), {"a": 1}),
        ):
            assert remembered_by_ids(connection, "kind", ids, read) == found
    assert asked == [{"a", "bb"}, {"ccc", "none"}]
