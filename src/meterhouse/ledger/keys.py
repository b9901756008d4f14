"""API keys: who may speak for a scope.

A secret is never stored: a key is found by the SHA-256 digest of its secret, and shown to people
by its mask. A key that is revoked or has expired stays listed and opens nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import ConfigError
from meterhouse.ledger import audit
from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.audit import Change, Origin
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import api_keys, scopes
from meterhouse.metering.model import Scope
from meterhouse.metering.window import MILLISECONDS
from meterhouse.wire.credentials import Access, Kind, Permissions, digest, is_live, mask
from meterhouse.wire.ids import new_id, new_secret_key
from meterhouse.wire.page import PageParams

ENVIRONMENT = "environment"  # the name of the keys that METERHOUSE_API_KEYS made


_LASTS_MAX = limits.API_KEY_DAYS_MAX * MILLISECONDS["day"]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key. `permissions` say what a restricted key may do; a secret key may do everything.

    `last_used_at` is behind by up to `API_KEY_USES_SECONDS`.
    """

    id: str
    scope: Scope
    kind: Kind
    name: str | None
    hint: str
    permissions: dict[str, Access]
    created: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None

    def expired(self, now: int) -> bool:
        """Tell whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now


_OWN = (
    "id",
    "kind",
    "name",
    "hint",
    "permissions",
    "created",
    "expires_at",
    "revoked_at",
    "last_used_at",
)
_keys = sa.select(
    *(api_keys.c[name] for name in _OWN),
    scopes.c.id.label("scope_id"),
    scopes.c.account,
    scopes.c.livemode,
).join_from(api_keys, scopes)
_newest_first = _keys.order_by(api_keys.c.seq.desc())
_use = (
    sa.update(api_keys)
    .where(
        api_keys.c.id == sa.bindparam("key"),
        sa.func.coalesce(api_keys.c.last_used_at, 0) < sa.bindparam("used_at"),
    )
    .values(last_used_at=sa.bindparam("used_at"))
)


def check_expiry(expires_at: int, now: int) -> None:
    """Raise `ConfigError` when no key may expire at such a time."""
    if not now < expires_at <= now + _LASTS_MAX:
        raise ConfigError(
            f"a key must expire in the future, and within {limits.API_KEY_DAYS_MAX} days."
        )


def create_key(
    connection: sa.Connection,
    scope: Scope,
    now: int,
    *,
    name: str | None = None,
    permissions: Permissions | None = None,
    expires_at: int | None = None,
) -> tuple[ApiKey, str]:
    """Make a key of `scope`; return it and its secret, which nobody can read again.

    With `permissions` the key is a restricted one. Raises `ConfigError` when `name` is the one
    that marks the keys of METERHOUSE_API_KEYS.
    """
    if name == ENVIRONMENT:
        raise ConfigError(f"'{name}' names the keys of METERHOUSE_API_KEYS; choose another name.")
    kind: Kind = "secret" if permissions is None else "restricted"
    secret = new_secret_key("sk" if kind == "secret" else "rk", scope.livemode)
    key = _insert(
        connection,
        scope,
        secret,
        now,
        kind=kind,
        name=name,
        permissions=permissions or {},
        expires_at=expires_at,
    )
    return key, secret


def find_key(connection: sa.Connection, secret_digest: bytes) -> ApiKey | None:
    """Return the key whose secret has this digest; None when none has, or it was revoked."""
    key = _first(connection, _keys.where(api_keys.c.digest == secret_digest))
    return key if key and key.revoked_at is None else None


def still_good(connection: sa.Connection, ids: Collection[str], now: int) -> set[str]:
    """Return which of these keys are neither revoked nor expired."""
    query = sa.select(api_keys.c.id).where(
        api_keys.c.id.in_(ids),
        api_keys.c.revoked_at.is_(None),
        sa.func.coalesce(api_keys.c.expires_at, now + 1) > now,
    )
    return set(connection.execute(query).scalars())


def used(connection: sa.Connection, uses: Mapping[str, int]) -> None:
    """Keep when keys, one at least and named by their ids, were used last.

    They come in one order, lest two processes that note the same ones wait for each other.
    """
    rows = [{"key": key, "used_at": used_at} for key, used_at in sorted(uses.items())]
    connection.execute(_use, rows)


def list_keys(connection: sa.Connection) -> list[ApiKey]:
    """Return every key of every account, newest first, the revoked ones too."""
    return [_key(row) for row in connection.execute(_newest_first).mappings()]


def page_of_keys(
    connection: sa.Connection, scope: int, page: PageParams
) -> tuple[list[ApiKey], bool] | None:
    """Return a page of the keys of a scope, newest first, and whether there are more.

    Returns None when the cursor of `page` names no key.
    """
    found = read_page(connection, api_keys, _keys, scope, page)
    return ([_key(row) for row in found.rows], found.has_more) if found else None


def revoke_key(connection: sa.Connection, key_id: str, by: Origin) -> ApiKey | None:
    """Revoke a key; None when there is no such key. A key stays revoked since the first time."""
    _revoke(connection, api_keys.c.id == key_id, by)
    return _first(connection, _keys.where(api_keys.c.id == key_id))


def told(key: ApiKey) -> dict[str, Change]:
    """Return what the audit log tells of a new key."""
    about = {"type": Change(new=key.kind)}
    if key.kind == "restricted":
        about["permissions"] = Change(new=key.permissions)
    return about


def provision(connection: sa.Connection, secrets: Sequence[str], now: int) -> None:
    """Make the secrets of METERHOUSE_API_KEYS, and no others, the environment's keys.

    They are keys of the default account, each in the mode that its prefix tells. A key that left
    the setting is revoked, and works again when it comes back. Raises `ConfigError` when a secret
    is a key of a connected account.
    """
    account = default_account(connection, now)
    digests = [digest(secret) for secret in secrets]
    left = sa.and_(api_keys.c.name == ENVIRONMENT, api_keys.c.digest.not_in(digests))
    _revoke(connection, left, audit.system(now))
    modes = {scope.livemode: scope for scope in scopes_of(connection, account.id)}
    for secret in secrets:
        _provide(connection, modes[is_live(secret)], secret, now)


def _provide(connection: sa.Connection, scope: Scope, secret: str, now: int) -> None:
    known = _first(connection, _keys.where(api_keys.c.digest == digest(secret)))
    if known is None:
        key = _insert(
            connection, scope, secret, now, kind="secret", name=ENVIRONMENT, permissions={}
        )
        audit.note(connection, audit.system(now), "api_key.created", scope.id, key.id, told(key))
    elif known.scope == scope:
        connection.execute(
            sa.update(api_keys)
            .where(api_keys.c.id == known.id)
            .values(name=ENVIRONMENT, expires_at=None, revoked_at=None)
        )
        if known.revoked_at is not None:
            by, about = audit.system(now), told(known)
            audit.note(connection, by, "api_key.created", scope.id, known.id, about)
    else:
        raise ConfigError(
            f"METERHOUSE_API_KEYS holds {known.hint}, a key of the account {known.scope.account}; "
            "it may hold only keys of the default account."
        )


def _revoke(connection: sa.Connection, which: sa.ColumnElement[bool], by: Origin) -> None:
    revoke = sa.update(api_keys).where(which, api_keys.c.revoked_at.is_(None))
    revoked = revoke.values(revoked_at=by.at).returning(api_keys.c.scope, api_keys.c.id)
    for scope, key in connection.execute(revoked).all():
        audit.note(connection, by, "api_key.revoked", scope, key)


def _insert(
    connection: sa.Connection,
    scope: Scope,
    secret: str,
    now: int,
    *,
    kind: Kind,
    name: str | None,
    permissions: Permissions,
    expires_at: int | None = None,
) -> ApiKey:
    key = ApiKey(
        id=new_id("key"),
        scope=scope,
        kind=kind,
        name=name,
        hint=mask(secret),
        permissions=dict(permissions),
        created=now,
        expires_at=expires_at,
    )
    row = msgspec.structs.asdict(key) | {"scope": scope.id, "digest": digest(secret)}
    connection.execute(sa.insert(api_keys), row)
    return key


def _first(connection: sa.Connection, query: sa.Select[Any]) -> ApiKey | None:
    row = connection.execute(query).mappings().one_or_none()
    return _key(row) if row else None


def _key(row: sa.RowMapping) -> ApiKey:
    scope = Scope(row["scope_id"], row["account"], row["livemode"])
    return ApiKey(scope=scope, **{name: row[name] for name in _OWN})
