from meterhouse.ledger import accounts, keys, listeners, users
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.listeners import Listening
from meterhouse.ledger.signing_secret import Ended, read_secret, rotate
from meterhouse.wire.credentials import digest
from meterhouse.wire.stripecli import EVERY_LOG
from tests.ledger.test_dashboard_sessions import find, make_user, sign_in

NOW = 1_700_000_000_000


def test_every_process_finds_the_same_secret(ledger: Ledger, url: str) -> None:
    with ledger.read() as connection:
        secret = read_secret(connection)
    assert len(secret) == 32
    with open_ledger(url) as again, again.read() as connection:
        assert read_secret(connection) == secret


def test_another_secret_ends_what_a_reader_of_the_ledger_could_use_and_nothing_else(
    ledger: Ledger,
) -> None:
    make_user(ledger, "ada")
    signed_in = [sign_in(ledger, name) for name in ("ada", "ada", None)]
    with ledger.write() as connection:
        before = read_secret(connection)
        account = accounts.default_account(connection, NOW)
        test, _ = accounts.scopes_of(connection, account.id)
        key, secret = keys.create_key(connection, test, NOW)
        one = Listening("cliws_1", test, key.id, "laptop", frozenset(), EVERY_LOG, 4)
        listeners.put(connection, one, "here", NOW)
        assert rotate(connection) == Ended(dashboard=3, listeners=1)
        after = read_secret(connection)
        assert after != before
        assert len(after) == 32
        assert listeners.take_all(connection, "here") == []
        assert keys.find_key(connection, digest(secret)) == key
        assert users.find_user(connection, "ada") is not None
        assert rotate(connection) == Ended(dashboard=0, listeners=0)
    assert [find(ledger, one) for one in signed_in] == [None, None, None]
