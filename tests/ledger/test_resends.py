import msgspec

from meterhouse.ledger import accounts, resends
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.resends import Resend
from meterhouse.metering.resend import Plan, Replacement
from meterhouse.metering.search import EventSearch
from tests.metering.samples import NOW


def made(ledger: Ledger, number: int) -> Resend:
    with ledger.write() as connection:
        account = accounts.default_account(connection, NOW)
        scope, _ = accounts.scopes_of(connection, account.id)
        search = EventSearch(scope=scope, code="no_meter", received=(1, None), identifiers=("a",))
        resend = Resend(
            id=f"rsd_{number}",
            scope=scope.id,
            plan=Plan(search=search, replacement=Replacement(payload={"k": "v"}), whole=False),
            dry_run=bool(number % 2),
            created=NOW + number,
            end_position=2**40,
        )
        resends.put(connection, resend)
        return resend


def test_a_resend_is_kept_as_it_is(ledger: Ledger) -> None:
    first, second = made(ledger, 1), made(ledger, 2)
    with ledger.read() as connection:
        assert resends.find(connection, first.scope, first.id) == first
        assert resends.find(connection, second.scope, second.id) == second
        assert resends.find(connection, first.scope + 1, first.id) is None


def test_the_oldest_that_runs_comes_first(ledger: Ledger) -> None:
    first, second = made(ledger, 1), made(ledger, 2)
    with ledger.write() as connection:
        assert resends.oldest_running(connection) == first
        changes = {"status": "complete", "sent_at": NOW, "matched": 3, "codes": {"no_meter": 3}}
        done = msgspec.structs.replace(first, **changes)
        resends.save(connection, done)
        assert resends.find(connection, first.scope, first.id) == done
        assert resends.oldest_running(connection) == second


def test_old_ones_go(ledger: Ledger) -> None:
    first, second = made(ledger, 1), made(ledger, 2)
    with ledger.write() as connection:
        assert resends.expire(connection, NOW + 1, 10) == 0
        assert resends.expire(connection, NOW + 3, 1) == 1
        assert resends.find(connection, first.scope, first.id) is None
        assert resends.find(connection, second.scope, second.id) == second
