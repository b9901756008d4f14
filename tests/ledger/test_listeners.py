from meterhouse.ledger import accounts, keys, listeners
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.listeners import Listening
from meterhouse.wire.stripecli import EVERY_LOG, Feature, LogFilters

NOW = 1_700_000_000_000


def test_sessions_are_kept_moved_and_forgotten(ledger: Ledger) -> None:
    with ledger.write() as connection:
        account = accounts.default_account(connection, NOW)
        test, live = accounts.scopes_of(connection, account.id)
        filters = LogFilters(filter_http_method=["GET"])
        key, _ = keys.create_key(connection, test, NOW)
        one = Listening("cliws_1", test, key.id, "laptop", frozenset(("webhooks",)), EVERY_LOG, 4)
        both: frozenset[Feature] = frozenset(("request_logs", "v2_events"))
        two = Listening("cliws_2", live, None, "", both, filters, 0)
        assert listeners.read(connection) == []
        for session in (one, two):
            listeners.put(connection, session)
        assert sorted(listeners.read(connection)) == [one, two]
        listeners.move(connection, [("cliws_2", 9), ("cliws_none", 7)])
        listeners.forget(connection, ["cliws_1"])
        assert listeners.read(connection) == [two._replace(since=9)]
        listeners.move(connection, [])
        listeners.forget(connection, [])
        assert listeners.read(connection) == [two._replace(since=9)]
