import pytest
import sqlalchemy as sa

from meterhouse.errors import ConfigError
from meterhouse.ledger import audit
from meterhouse.ledger.accounts import create_account, default_account, scopes_of
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.keys import (
    ENVIRONMENT,
    create_key,
    find_key,
    list_keys,
    provision,
    revoke_key,
)
from meterhouse.ledger.tables import api_keys
from meterhouse.wire.credentials import digest

FIRST, SECOND, LIVE = "sk_test_first_secret", "sk_test_second_secret", "sk_live_third_secret"


def working(ledger: Ledger, *secrets: str) -> list[bool]:
    with ledger.read() as connection:
        return [find_key(connection, digest(secret)) is not None for secret in secrets]


def provide(ledger: Ledger, *secrets: str, now: int = 1) -> None:
    with ledger.write() as connection:
        provision(connection, secrets, now)


def test_a_key_is_found_by_its_digest_and_its_secret_is_nowhere(ledger: Ledger) -> None:
    with ledger.write() as connection:
        test, live = scopes_of(connection, default_account(connection, now=1).id)
        made = [create_key(connection, scope, 7, name="ours") for scope in (test, live)]
        for key, secret in made:
            assert find_key(connection, digest(secret)) == key
            assert (key.kind, key.name, key.permissions) == ("secret", "ours", {})
            assert (key.created, key.revoked_at) == (7, None)
        assert [key.scope for key, _ in made] == [test, live]
        assert [secret[:8] for _, secret in made] == ["sk_test_", "sk_live_"]
        assert find_key(connection, digest("sk_test_other")) is None
        stored = str(connection.execute(sa.select(api_keys)).all())
        assert not any(secret in stored for _, secret in made)


def test_a_key_with_permissions_is_a_restricted_one(ledger: Ledger) -> None:
    with ledger.write() as connection:
        test, _ = scopes_of(connection, create_account(connection, "Shop", now=1).id)
        key, secret = create_key(connection, test, 1, permissions={"billing_meters": "read"})
        found = find_key(connection, digest(secret))
    assert found == key
    assert secret.startswith("rk_test_")
    assert (key.kind, key.permissions, key.scope) == (
        "restricted",
        {"billing_meters": "read"},
        test,
    )


def test_a_revoked_key_opens_nothing_and_stays_listed(ledger: Ledger) -> None:
    with ledger.write() as connection:
        test, _ = scopes_of(connection, default_account(connection, now=1).id)
        older, secret = create_key(connection, test, 1)
        newer, _ = create_key(connection, test, 2)
        revoked = revoke_key(connection, older.id, audit.system(50))
        assert revoked is not None
        assert revoked.revoked_at == 50
        assert revoke_key(connection, older.id, audit.system(99)) == revoked
        assert revoke_key(connection, "key_none", audit.system(99)) is None
        assert find_key(connection, digest(secret)) is None
        assert list_keys(connection) == [newer, revoked]


def test_the_setting_makes_keys_of_the_default_account(ledger: Ledger) -> None:
    provide(ledger, FIRST, LIVE)
    provide(ledger, FIRST, LIVE, now=2)
    with ledger.read() as connection:
        test, live = scopes_of(connection, default_account(connection, now=1).id)
        keys = list_keys(connection)
    assert [(key.scope, key.name, key.created) for key in keys] == [
        (live, ENVIRONMENT, 1),
        (test, ENVIRONMENT, 1),
    ]


def test_a_key_that_leaves_the_setting_is_revoked_until_it_comes_back(ledger: Ledger) -> None:
    provide(ledger, FIRST, LIVE)
    provide(ledger, SECOND, LIVE)
    assert working(ledger, FIRST, SECOND, LIVE) == [False, True, True]
    provide(ledger, FIRST)
    assert working(ledger, FIRST, SECOND, LIVE) == [True, False, False]
    provide(ledger)
    assert working(ledger, FIRST, SECOND, LIVE) == [False, False, False]


def test_the_setting_leaves_other_keys_alone(ledger: Ledger) -> None:
    with ledger.write() as connection:
        test, _ = scopes_of(connection, default_account(connection, now=1).id)
        _, named = create_key(connection, test, 1, name="ours")
        _, unnamed = create_key(connection, test, 1)
    provide(ledger, FIRST)
    assert working(ledger, named, unnamed, FIRST) == [True, True, True]


def test_the_setting_refuses_the_key_of_a_connected_account(ledger: Ledger) -> None:
    with ledger.write() as connection:
        test, _ = scopes_of(connection, create_account(connection, None, now=1).id)
        _, secret = create_key(connection, test, 1)
    with pytest.raises(ConfigError, match=test.account) as raised:
        provide(ledger, FIRST, secret)
    assert secret not in str(raised.value)
    assert working(ledger, FIRST, secret) == [False, True]


def test_the_name_of_the_settings_keys_is_taken(ledger: Ledger) -> None:
    with ledger.write() as connection:
        test, _ = scopes_of(connection, default_account(connection, now=1).id)
        with pytest.raises(ConfigError, match="METERHOUSE_API_KEYS"):
            create_key(connection, test, 1, name=ENVIRONMENT)
