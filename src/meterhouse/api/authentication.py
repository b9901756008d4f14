"""Who asks: from an API key to the scope that it opens.

What was found is kept for `CREDENTIAL_CACHE_SECONDS`, so that a busy sender costs no look-up. A key
that is revoked over HTTP stops working at once; one that the command line revokes, beside the
server, within that time.
"""

from typing import NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.ledger import accounts, keys
from meterhouse.metering.model import Scope
from meterhouse.stores import Stores
from meterhouse.wire import envelope
from meterhouse.wire.credentials import Access, Permissions, digest, mask, permits
from meterhouse.wire.embed import Embed

_OPERATOR = 0  # whose share is nobody else's; scopes are numbered from 1


class Credential(NamedTuple):
    """What a key opens: a scope, wholly (`permissions` is None) or in part.

    `embed` bounds an embed token further: to a customer, meters and dimensions. `own_scope` is that
    of a key which acts for another account.
    """

    scope: Scope
    permissions: Permissions | None
    hint: str
    embed: Embed | None = None
    own_scope: int | None = None

    @property
    def sender(self) -> int:
        """Whose share of the stores is used."""
        return self.scope.id if self.own_scope is None else self.own_scope

    def require(self, resource: str, access: Access) -> None:
        """Refuse with 403 unless the key may `access` the `resource`."""
        if self.permissions is not None and not permits(self.permissions, resource, access):
            raise envelope.permission_denied(self.hint, self.scope.account, f"{resource}:{access}")


class Authentication:
    """Looks keys and connected accounts up, and remembers them for a moment."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._stores = stores
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[int, Credential]] = {}

    async def credential(self, secret: str, account: str) -> Credential:
        """Return what `secret` opens; on behalf of the connected `account` where one is named.

        Refuses with 401 a key that is unknown or revoked, with 403 an account that is not
        connected to the key's own.
        """
        now = self._clock.now()
        known = self._known.get((secret, account))
        if (
            known is not None
            and known[0] <= now < known[0] + limits.CREDENTIAL_CACHE_SECONDS * 1000
        ):
            return known[1]
        credential = await self._stores.ask_ledger("look_up", _look_up, secret, account)
        if len(self._known) >= limits.CREDENTIAL_CACHE_KEYS_MAX:
            self._known.clear()
        self._known[secret, account] = (now, credential)
        return credential

    def forget(self) -> None:
        """Look everything up again: a key was revoked."""
        self._known.clear()

    async def operator(self, account: str, *, livemode: bool) -> Credential:
        """Return what the operator may do in one mode: everything, with any account.

        Without an account it is the default one. Refuses with 403 an account that does not exist.
        """
        return await self._stores.ask_ledger("look_up", _operator, account, livemode)


def _operator(connection: sa.Connection, account: str, livemode: bool) -> Credential:
    known = account or accounts.list_accounts(connection)[0].id
    scope = accounts.scope_of(connection, known, livemode)
    if scope is None:
        raise envelope.account_denied("operator", account)
    return Credential(scope, None, "operator", own_scope=_OPERATOR)


def _look_up(connection: sa.Connection, secret: str, account: str) -> Credential:
    key = keys.find_key(connection, digest(secret))
    if key is None or key.revoked_at is not None:
        raise envelope.invalid_api_key(mask(secret))
    permissions = key.permissions if key.kind == "restricted" else None
    if not account or account == key.scope.account:
        return Credential(key.scope, permissions, key.hint)
    scope = accounts.connected_scope(connection, key.scope, account)
    if scope is None:
        raise envelope.account_denied(key.hint, account)
    return Credential(scope, permissions, key.hint, own_scope=key.scope.id)
