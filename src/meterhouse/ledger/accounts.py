"""Accounts and their scopes: who the books belong to.

- There is one default account, made by the first start. Every other account is connected to it.
- An account has two scopes, one in each mode, from the moment it exists; scopes are never deleted.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.paging import of_time, read_page
from meterhouse.ledger.tables import accounts, journal_head, scopes
from meterhouse.metering.model import Scope
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account; `platform` is the id of the default account, None for that account itself."""

    id: str
    platform: str | None
    name: str | None
    created: int


class Home(NamedTuple):
    """Whose a scope is, and the platform that the account is connected to, if any."""

    account: str
    livemode: bool
    platform: str | None


_accounts = sa.select(*(accounts.c[name] for name in Account.__struct_fields__))
_name = (
    sa.select(accounts.c.name)
    .join(scopes, scopes.c.account == accounts.c.id)
    .where(scopes.c.id == sa.bindparam("scope"))
)
_scopes = sa.select(scopes.c.id, scopes.c.account, scopes.c.livemode).order_by(scopes.c.id)


def default_account(connection: sa.Connection, now: int) -> Account:
    """Return the default account, which is made if there is none."""
    found = _find_default(connection)
    if found is None:
        # Two processes may start at once: whoever has this lock makes it, the other finds it.
        connection.execute(sa.select(journal_head.c.id).with_for_update())
        found = _find_default(connection)
    return found or _create(connection, platform=None, name=None, now=now)


def create_account(connection: sa.Connection, name: str | None, now: int) -> Account:
    """Make an account that is connected to the default account."""
    platform = default_account(connection, now)
    return _create(connection, platform=platform.id, name=name, now=now)


def find_account(connection: sa.Connection, account_id: str) -> Account | None:
    """Return an account by its id."""
    return _find(connection, accounts.c.id == account_id)


def rename_account(connection: sa.Connection, account_id: str, name: str | None) -> None:
    """Give an account another name for people, or none."""
    connection.execute(sa.update(accounts).where(accounts.c.id == account_id).values(name=name))


def name_of(connection: sa.Connection, scope: int) -> str | None:
    """Return the name of the account that a scope is of."""
    name: str | None = connection.execute(_name, {"scope": scope}).scalar_one()
    return name


def list_accounts(connection: sa.Connection) -> list[Account]:
    """Return every account, oldest first, so the default account first."""
    rows = connection.execute(_accounts.order_by(accounts.c.seq)).mappings()
    return [Account(**row) for row in rows]


def page_of_accounts(
    connection: sa.Connection, page: PageParams
) -> tuple[list[Account], bool] | None:
    """Return a page of the accounts, newest first, and whether there are more.

    Returns None when the cursor of `page` names no account.
    """
    found = read_page(connection, accounts, _accounts, None, page)
    return ([Account(**row) for row in found.rows], found.has_more) if found else None


def connected_accounts(
    connection: sa.Connection,
    platform: str,
    page: PageParams,
    created: tuple[int | None, int | None] = (None, None),
) -> tuple[list[Account], bool] | None:
    """Return a page of the accounts that are connected to `platform`, newest first.

    `created` is a half-open window, open where a bound is None. It comes with whether there are
    more. Returns None when the cursor of `page` names no such account.
    """
    query = _accounts
    query = of_time(query, accounts.c.created, created)
    found = read_page(connection, accounts, query, None, page, own=accounts.c.platform == platform)
    return ([Account(**row) for row in found.rows], found.has_more) if found else None


def scopes_of(connection: sa.Connection, account_id: str) -> list[Scope]:
    """Return both scopes of an account; nothing when there is no such account."""
    rows = connection.execute(_scopes.where(scopes.c.account == account_id))
    return [Scope(*row) for row in rows]


def scope_of(connection: sa.Connection, account_id: str, livemode: bool) -> Scope | None:
    """Return the scope of an account in one mode; None when there is no such account."""
    found = scopes_of(connection, account_id)
    return next((scope for scope in found if scope.livemode == livemode), None)


def connected_scope(connection: sa.Connection, platform: Scope, account_id: str) -> Scope | None:
    """Return the scope, in the mode of `platform`, of an account that is connected to it.

    None when `platform` has no such connected account
    (https://docs.stripe.com/connect/authentication).
    """
    account = find_account(connection, account_id)
    if account is None or account.platform != platform.account:
        return None
    return scope_of(connection, account_id, platform.livemode)


def scopes_by_id(connection: sa.Connection) -> dict[int, Scope]:
    """Return every scope by its number."""
    return {row.id: Scope(*row) for row in connection.execute(_scopes)}


def homes(connection: sa.Connection, scope_ids: Iterable[int]) -> dict[int, Home]:
    """Return whose these scopes are."""
    query = sa.select(scopes.c.id, scopes.c.account, scopes.c.livemode, accounts.c.platform)
    found = connection.execute(query.join(accounts).where(scopes.c.id.in_(list(scope_ids))))
    return {scope: Home(*rest) for scope, *rest in found}


def _find_default(connection: sa.Connection) -> Account | None:
    return _find(connection, accounts.c.platform.is_(None))


def _find(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Account | None:
    row = connection.execute(_accounts.where(condition)).mappings().one_or_none()
    return Account(**row) if row else None


def _create(
    connection: sa.Connection, *, platform: str | None, name: str | None, now: int
) -> Account:
    account = Account(id=new_id("acct"), platform=platform, name=name, created=now)
    connection.execute(sa.insert(accounts), msgspec.structs.asdict(account))
    connection.execute(
        sa.insert(scopes),
        [{"account": account.id, "livemode": livemode} for livemode in (False, True)],
    )
    return account
