import pytest

from meterhouse.ledger import accounts, keys, listeners, notifications
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.listeners import Again, Listening
from meterhouse.wire.stripecli import EVERY_LOG, Feature, LogFilters
from tests.ledger.samples import snapshot

NOW = 1_700_000_000_000


HERE, THERE = "here", "there"
V2: frozenset[Feature] = frozenset(("request_logs", "v2_events"))


@pytest.fixture
def both(ledger: Ledger) -> tuple[Listening, Listening]:
    """Return a session in each mode, which are kept `here`."""
    with ledger.write() as connection:
        account = accounts.default_account(connection, NOW)
        test, live = accounts.scopes_of(connection, account.id)
        filters = LogFilters(filter_http_method=["GET"])
        key, _ = keys.create_key(connection, test, NOW)
        one = Listening("cliws_1", test, key.id, "laptop", frozenset(("webhooks",)), EVERY_LOG, 4)
        two = Listening("cliws_2", live, None, "", V2, filters, 0)
        for session in (one, two):
            listeners.put(connection, session, HERE, NOW)
    return one, two


def test_sessions_are_kept_moved_and_forgotten(
    ledger: Ledger, both: tuple[Listening, Listening]
) -> None:
    one, two = both
    with ledger.write() as connection:
        assert sorted(listeners.take_all(connection, HERE)) == [one, two]
        listeners.move(connection, HERE, [("cliws_2", 9), ("cliws_none", 7)])
        listeners.forget(connection, HERE, ["cliws_1"])
        assert listeners.take_all(connection, HERE) == [two._replace(since=9)]
        listeners.move(connection, HERE, [])
        listeners.forget(connection, HERE, [])
        assert listeners.take_all(connection, HERE) == [two._replace(since=9)]


def test_who_serves_a_session_no_more_changes_nothing_of_it(
    ledger: Ledger, both: tuple[Listening, Listening]
) -> None:
    one, two = both
    with ledger.write() as connection:
        account = one.scope.account
        assert listeners.take(connection, one.id, "acct_other", THERE, NOW) is None
        assert listeners.take(connection, "cliws_none", account, THERE, NOW) is None
        assert listeners.take(connection, one.id, account, THERE, NOW) == (one, False)
        assert listeners.take(connection, one.id, account, THERE, NOW) == (one, True)
        listeners.move(connection, HERE, [(one.id, 9), (two.id, 9)])
        listeners.forget(connection, HERE, [one.id])
        assert listeners.served(connection, HERE) == {two.id: False}
        assert listeners.served(connection, THERE) == {one.id: False}
        assert listeners.take(connection, one.id, account, HERE, NOW) == (one, False)


def test_what_is_told_again_is_taken_once_by_who_serves_the_session(
    ledger: Ledger, both: tuple[Listening, Listening]
) -> None:
    one, _ = both
    with ledger.write() as connection:
        event = snapshot(one.scope.id, "evt_1")
        notifications.put(connection, event)
        known = Again(one.scope.id, "evt_1", None)
        gone = Again(one.scope.id, "evt_gone", "acct_1")
        listeners.tell_again(connection, one.scope.id, known)
        listeners.tell_again(connection, one.scope.id, gone)
        assert listeners.take_again(connection, THERE) == []
        assert listeners.served(connection, HERE) == {"cliws_1": True, "cliws_2": False}
        told = [("cliws_1", known, event), ("cliws_1", gone, None)]
        assert listeners.take_again(connection, HERE) == told
        assert listeners.take_again(connection, HERE) == []


def test_a_session_that_nobody_keeps_goes(
    ledger: Ledger, both: tuple[Listening, Listening]
) -> None:
    one, _ = both
    with ledger.write() as connection:
        listeners.take(connection, one.id, one.scope.account, THERE, NOW)
        listeners.keep(connection, HERE, NOW + 5)
        assert listeners.expire(connection, NOW, 10) == 0
        assert listeners.expire(connection, NOW + 1, 10) == 1
        listeners.keep_all(connection, NOW + 3)
        assert listeners.expire(connection, NOW + 5, 10) == 0
        assert listeners.expire(connection, NOW + 6, 10) == 1
        assert listeners.take_all(connection, HERE) == []
