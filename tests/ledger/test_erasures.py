import msgspec

from meterhouse.ledger import erasures
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.erasures import Erasure
from tests.ledger.samples import two_scopes


def made(ledger: Ledger, number: int, due_at: int = 0) -> Erasure:
    scope, _ = two_scopes(ledger)
    erasure = Erasure(
        id=f"ers_{number}",
        scope=scope,
        customer="cus_1",
        created=number,
        payload_keys=("email", "größe"),
        due_at=due_at,
    )
    with ledger.write() as connection:
        erasures.put(connection, erasure)
    return erasure


def test_an_erasure_is_kept_as_it_is(ledger: Ledger) -> None:
    first, second = made(ledger, 1), made(ledger, 2)
    changed = msgspec.structs.replace(first, at_once=True, step="slots", due_at=9, events=3)
    with ledger.write() as connection:
        erasures.save(connection, changed)
        assert erasures.find(connection, first.scope, "ers_1") == changed
        assert erasures.find(connection, first.scope, "ers_2") == second
        assert erasures.find(connection, first.scope + 1, "ers_1") is None


def test_the_one_that_is_due_first_comes_first(ledger: Ledger) -> None:
    later, first, second = made(ledger, 1, due_at=9), made(ledger, 2), made(ledger, 3)
    with ledger.write() as connection:
        for one in (first, second):
            assert erasures.due(connection, 8) == one
            erasures.save(connection, msgspec.structs.replace(one, step="complete"))
        assert erasures.due(connection, 8) is None
        assert erasures.due(connection, 9) == later


def test_old_ones_go_once_they_are_complete(ledger: Ledger) -> None:
    done, open_ = made(ledger, 1), made(ledger, 2)
    with ledger.write() as connection:
        erasures.save(connection, msgspec.structs.replace(done, step="complete"))
        assert erasures.expire(connection, 1, 10) == 0
        assert erasures.expire(connection, 3, 10) == 1
        assert erasures.find(connection, done.scope, "ers_1") is None
        assert erasures.find(connection, done.scope, "ers_2") == open_
