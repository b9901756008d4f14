"""`/meterhouse/v1/api_keys`: the keys of one account in one mode, for its operator alone.

No API key may list, make or revoke keys: one that leaked could make others that outlive it. The
secret of a new key is told once and kept nowhere; so these requests are not replayed under their
idempotency keys, whose records would hold it.
"""

from typing import Annotated, Any

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.errors import ConfigError
from meterhouse.ledger import keys
from meterhouse.ledger.keys import ApiKey
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire import envelope, refusals
from meterhouse.wire.credentials import PERMISSION_RESOURCES, Permissions, parse_permissions
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Keys, Length, RequestParams, Timestamp

_WORD_CHARS_MAX = max(map(len, PERMISSION_RESOURCES))


class ApiKeyCreate(RequestParams):
    """The parameters of a new key; with `permissions` it is a restricted one.

    Without `expires_at` it lasts until it is revoked.
    """

    name: Annotated[str, Length(limits.API_KEY_NAME_CHARS_MAX)] | None = None
    permissions: (
        Annotated[dict[str, str], Keys(len(PERMISSION_RESOURCES), _WORD_CHARS_MAX, _WORD_CHARS_MAX)]
        | None
    ) = None
    expires_at: Timestamp | None = None


async def list_(call: Call) -> Answer:
    """List keys without their secrets, newest first, the revoked ones too."""
    params = call.params(PageParams)
    check_expand(params.expand)
    page = await call.read(keys.page_of_keys, call.scope.id, params)
    if page is None:
        raise envelope.no_such("API key", params.cursor, params.cursor_param)
    found, has_more = page
    return ok(list_object(call.path, [_document(key) for key in found], has_more))


async def create(call: Call) -> Answer:
    """Make a key; the answer alone has its secret."""
    params = call.params(ApiKeyCreate)
    check_expand(params.expand)
    permissions = _permissions(params.permissions)
    expires_at = _expiry(params.expires_at, call.now)

    def work(connection: sa.Connection) -> tuple[ApiKey, str]:
        key, secret = keys.create_key(
            connection,
            call.scope,
            call.now,
            name=params.name,
            permissions=permissions,
            expires_at=expires_at,
        )
        call.note(connection, "api_key.created", key.id, keys.told(key))
        return key, secret

    try:
        key, secret = await call.services.stores.write(work)
    except ConfigError as error:
        raise refusals.invalid_api_key_name(str(error)) from error
    return ok(_document(key) | {"secret": secret})


async def revoke(call: Call) -> Answer:
    """Revoke a key, from now on; one that is revoked stays so."""
    check_expand(call.params(RequestParams).expand)

    def work(connection: sa.Connection) -> ApiKey:
        key = keys.revoke_key(connection, call.ids[0], call.origin)
        if key is None or key.scope != call.scope:
            raise envelope.no_such("API key", call.ids[0])  # which undoes it
        return key

    revoked = await call.services.stores.write(work)
    call.services.authentication.forget()
    return ok(_document(revoked))


def _permissions(asked: dict[str, str] | None) -> Permissions | None:
    if asked is None:
        return None
    try:
        return parse_permissions(
            ",".join(f"{resource}:{access}" for resource, access in asked.items())
        )
    except ValueError as error:
        raise refusals.invalid_permissions(str(error)) from error


def _expiry(asked: int | None, now: int) -> int | None:
    if asked is None:
        return None
    try:
        keys.check_expiry(asked * 1000, now)
    except ConfigError as error:
        raise refusals.invalid_expiry(str(error)) from error
    return asked * 1000


def _document(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "object": "meterhouse.api_key",
        "created": seconds(key.created),
        "expires_at": seconds_or_none(key.expires_at),
        "hint": key.hint,
        "last_used_at": seconds_or_none(key.last_used_at),
        "livemode": key.scope.livemode,
        "name": key.name,
        "permissions": key.permissions if key.kind == "restricted" else None,
        "revoked_at": seconds_or_none(key.revoked_at),
        "type": key.kind,
    }
