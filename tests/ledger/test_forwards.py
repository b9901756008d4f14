import sqlalchemy as sa

from meterhouse.ledger import accounts, destinations, forwards, notifications
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.forwards import Forward
from meterhouse.ledger.tables import attempts, deliveries
from meterhouse.metering.model import Scope
from meterhouse.wire.notification import Notification
from meterhouse.wire.page import PageParams

NOW = 1_700_000_000_000
READ = Forward(1, "evt_1", "cli_1", "laptop", NOW)


def notified(connection: sa.Connection) -> Scope:
    """Make an account, in whose test mode `evt_1` has happened."""
    account = accounts.default_account(connection, NOW)
    test, _ = accounts.scopes_of(connection, account.id)
    notifications.put(
        connection,
        Notification(
            id="evt_1", scope=test.id, payload="thin", type="v1.customer.created", created=NOW
        ),
    )
    return test


def told(connection: sa.Connection) -> list[tuple[object, ...]]:
    names = ("notification", "destination", "status", "attempts", "next_attempt_at", "created")
    query = sa.select(*(deliveries.c[name] for name in names))
    return [tuple(row) for row in connection.execute(query)]


def test_what_a_cli_has_read_is_delivered(ledger: Ledger) -> None:
    with ledger.write() as connection:
        forwards.record(connection, [READ._replace(scope=notified(connection).id)])
        assert told(connection) == [("evt_1", "cli_1", "delivered", 0, None, NOW)]


def test_each_answer_of_a_url_is_an_attempt(ledger: Ledger) -> None:
    with ledger.write() as connection:
        read = READ._replace(scope=notified(connection).id)
        answers = [
            read._replace(at=NOW + 7, status=200, response="ok"),
            read._replace(at=NOW + 9, status=500, response="oh"),
        ]
        forwards.record(connection, [read, *answers])
        assert told(connection) == [("evt_1", "cli_1", "failed", 2, None, NOW)]
        columns = ("at", "status", "duration_ms", "error", "response")
        made = connection.execute(sa.select(*(attempts.c[c] for c in columns)))
        assert [tuple(row) for row in made] == [
            (NOW + 7, 200, 7, None, "ok"),
            (NOW + 9, 500, 9, None, "oh"),
        ]


def test_an_answer_may_come_before_the_acknowledgement(ledger: Ledger) -> None:
    with ledger.write() as connection:
        read = READ._replace(scope=notified(connection).id)
        forwards.record(connection, [read._replace(at=NOW + 7, status=204), read])
        assert told(connection) == [("evt_1", "cli_1", "delivered", 1, None, NOW)]


def test_a_device_is_no_destination_that_anybody_finds_or_owes_to(ledger: Ledger) -> None:
    with ledger.write() as connection:
        test = notified(connection)
        forwards.record(connection, [READ._replace(scope=test.id)])
        assert destinations.find_destination(connection, test.id, "cli_1") is None
        assert destinations.list_destinations(connection, test.id, PageParams()) == ([], False)
        assert destinations.subscribed(connection, test.id, "customer.created", "snapshot") == []


def test_an_event_that_is_no_longer_kept_is_passed_over(ledger: Ledger) -> None:
    with ledger.write() as connection:
        test = notified(connection)
        forwards.record(connection, [READ._replace(scope=test.id, notification="evt_gone")])
        assert told(connection) == []
