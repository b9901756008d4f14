"""Who asks: from an API key to the scope that it opens.

What was found is kept for `CREDENTIAL_CACHE_SECONDS`, so that a busy sender costs no look-up. A key
that is revoked over HTTP stops working at once; one that the command line revokes, beside the
server, within that time. So does all that a key has begun: a token asks whether its key is still
good, and what lasts is told when it is not.
"""

from collections.abc import Collection
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.errors import Refusal
from meterhouse.gone import Receive
from meterhouse.jobs.key_uses import KeyUses
from meterhouse.ledger import accounts, keys
from meterhouse.metering.model import Scope
from meterhouse.stores import Stores
from meterhouse.watch import Watch
from meterhouse.wire import envelope
from meterhouse.wire.credentials import Access, Permissions, digest, mask, permits
from meterhouse.wire.embed import Embed

_OPERATOR = 0  # whose share is nobody else's; scopes are numbered from 1


class Credential(NamedTuple):
    """What a key opens: a scope, wholly (`permissions` is None) or in part.

    `embed` bounds an embed token further: to a customer, meters and dimensions. `own_scope` is that
    of a key which acts for another account. `key` is the id of the key, also of the one that made a
    token; None for the operator.
    """

    scope: Scope
    permissions: Permissions | None
    hint: str
    embed: Embed | None = None
    own_scope: int | None = None
    key: str | None = None

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

    def __init__(self, stores: Stores, clock: Clock, uses: KeyUses) -> None:
        self._stores = stores
        self._clock = clock
        self._uses = uses
        self._known: dict[tuple[str, str], tuple[int, Credential]] = {}
        self._good: dict[str, tuple[int, bool]] = {}
        self._watch = Watch(self._still_good, limits.KEY_LOOK_MILLISECONDS / 1_000)

    async def credential(self, secret: str, account: str) -> Credential:
        """Return what `secret` opens; on behalf of the connected `account` where one is named.

        Refuses with 401 a key that is unknown, revoked or expired, with 403 an account that is not
        connected to the key's own.
        """
        now = self._clock.now()
        known = self._known.get((secret, account))
        if known is not None and _fresh(known[0], now):
            return known[1]
        credential = await self._stores.ask_ledger("look_up", _look_up, secret, account, now)
        if len(self._known) >= limits.CREDENTIAL_CACHE_KEYS_MAX:
            self._known.clear()
        self._known[secret, account] = (now, credential)
        if credential.key is not None:
            self._uses.note(credential.key, now)
        return credential

    async def good(self, key: str | None) -> bool:
        """Tell whether the key with this id still opens what it has opened; the operator's does."""
        if key is None:
            return True
        now = self._clock.now()
        known = self._good.get(key)
        if known is not None and _fresh(known[0], now):
            return known[1]
        good = key in await self._still_good((key,))
        if len(self._good) >= limits.CREDENTIAL_CACHE_KEYS_MAX:
            self._good.clear()
        self._good[key] = (now, good)
        if good:
            self._uses.note(key, now)
        return good

    async def check(self, credential: Credential, refusal: Refusal) -> Credential:
        """Return what a token opens; raise `refusal` when the key that made it is good no more."""
        if not await self.good(credential.key):
            raise refusal
        return credential

    def bounded(self, receive: Receive, credential: Credential) -> Receive:
        """Return a `receive` that refuses with 401 once the key is revoked or expires."""
        if credential.key is None:
            return receive
        refuse = partial(envelope.invalid_api_key, credential.hint)
        return self._watch.bounded(credential.key, receive, refuse)

    def forget(self) -> None:
        """Look everything up again: a key was revoked."""
        self._known.clear()
        self._good.clear()

    async def _still_good(self, ids: Collection[str]) -> set[str]:
        now = self._clock.now()
        return await self._stores.ask_ledger("look_up", keys.still_good, ids, now)

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


def _fresh(found_at: int, now: int) -> bool:
    return found_at <= now < found_at + limits.CREDENTIAL_CACHE_SECONDS * 1000


def _look_up(connection: sa.Connection, secret: str, account: str, now: int) -> Credential:
    key = keys.find_key(connection, digest(secret))
    if key is None:
        raise envelope.invalid_api_key(mask(secret))
    if key.expired(now):
        raise envelope.expired_api_key(key.hint)
    permissions = key.permissions if key.kind == "restricted" else None
    if not account or account == key.scope.account:
        return Credential(key.scope, permissions, key.hint, key=key.id)
    scope = accounts.connected_scope(connection, key.scope, account)
    if scope is None:
        raise envelope.account_denied(key.hint, account)
    return Credential(scope, permissions, key.hint, own_scope=key.scope.id, key=key.id)
