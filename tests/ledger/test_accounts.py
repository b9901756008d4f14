import threading

from meterhouse.ledger.accounts import (
    Home,
    connected_scope,
    create_account,
    default_account,
    find_account,
    homes,
    list_accounts,
    scope_of,
    scopes_by_id,
    scopes_of,
)
from meterhouse.ledger.engine import Ledger, open_ledger


def test_there_is_one_default_account(ledger: Ledger) -> None:
    with ledger.write() as connection:
        made = default_account(connection, now=1_000)
    with ledger.read() as connection:
        assert default_account(connection, now=2_000) == made
    assert made.platform is None
    assert made.created == 1_000
    assert made.id.startswith("acct_")


def test_processes_that_start_at_once_make_one_default_account(ledger: Ledger, url: str) -> None:
    made = []

    def start(mine: Ledger) -> None:
        with mine.write() as connection:
            made.append(default_account(connection, now=1))

    with open_ledger(url) as other:
        threads = [threading.Thread(target=start, args=(mine,)) for mine in (ledger, other) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) == 6
    assert len({account.id for account in made}) == 1


def test_accounts_are_connected_to_the_default_account(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connected = create_account(connection, "Shop", now=5)
        unnamed = create_account(connection, None, now=6)
        platform = default_account(connection, now=7)
    assert (connected.platform, connected.name, connected.created) == (platform.id, "Shop", 5)
    with ledger.read() as connection:
        assert list_accounts(connection) == [platform, connected, unnamed]
        assert find_account(connection, connected.id) == connected
        assert find_account(connection, "acct_none") is None


def test_an_account_has_a_scope_in_each_mode(ledger: Ledger) -> None:
    with ledger.write() as connection:
        accounts = [default_account(connection, now=1), create_account(connection, None, now=1)]
        scopes = scopes_by_id(connection)
        for account in accounts:
            test, live = scopes_of(connection, account.id)
            assert (test.account, test.livemode) == (account.id, False)
            assert (live.account, live.livemode) == (account.id, True)
            assert scope_of(connection, account.id, livemode=False) == test == scopes[test.id]
            assert scope_of(connection, account.id, livemode=True) == live == scopes[live.id]
        assert len(scopes) == 4
        assert scope_of(connection, "acct_none", livemode=True) is None
        assert scopes_of(connection, "acct_none") == []


def test_a_platform_reaches_the_accounts_that_are_connected_to_it(ledger: Ledger) -> None:
    with ledger.write() as connection:
        shop = create_account(connection, "Shop", now=1)
        other = create_account(connection, "Other", now=1)
        platform = default_account(connection, now=1)
        for livemode in (False, True):
            ours = scope_of(connection, platform.id, livemode)
            theirs = scope_of(connection, shop.id, livemode)
            assert ours is not None
            assert theirs is not None
            assert connected_scope(connection, ours, shop.id) == theirs
            assert connected_scope(connection, ours, platform.id) is None
            assert connected_scope(connection, ours, "acct_none") is None
            assert connected_scope(connection, theirs, other.id) is None


def test_whose_a_scope_is(ledger: Ledger) -> None:
    with ledger.write() as connection:
        shop = create_account(connection, "Shop", now=1)
        platform = default_account(connection, now=1)
        test, live = scopes_of(connection, shop.id)
        own, _ = scopes_of(connection, platform.id)
        assert homes(connection, [own.id, live.id]) == {
            own.id: Home(platform.id, False, None),
            live.id: Home(shop.id, True, platform.id),
        }
        assert homes(connection, [test.id + 1_000]) == {}
