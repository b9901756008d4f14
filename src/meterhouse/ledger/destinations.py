"""Destinations: where notifications go.

A webhook endpoint of API v1 and an event destination of API v2 are the same thing: v2 knows every
destination, v1 those that take snapshot events (https://docs.stripe.com/event-destinations).

A destination that was deleted keeps its row without its secrets, so that what was delivered to it
stays explained.
"""

from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import memo
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import accounts, destinations, scopes
from meterhouse.wire.event_type import matches
from meterhouse.wire.notification import Payload
from meterhouse.wire.page import PageParams

Source = Literal["@self", "@accounts"]  # the own account, the accounts that are connected to it


class Secret(NamedTuple):
    """What signs deliveries. One that was rolled counts until `expires_at`, the newest for ever."""

    secret: str
    expires_at: int | None


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """A destination; its secrets are the newest first. `deleted_at` is None while it exists.

    `local` tells that whoever named the URL asked straight from this machine. `failing_since` is
    the first of the attempts that failed since one arrived or since somebody enabled it; one that
    is disabled and has it was disabled for that.
    """

    id: str
    scope: int
    name: str
    description: str
    url: str
    local: bool
    payload: Payload
    enabled_events: list[str]
    events_from: list[Source]
    api_version: str | None
    metadata: dict[str, str]
    enabled: bool
    secrets: list[Secret]
    created: int
    updated: int
    failing_since: int | None = None
    deleted_at: int | None = None

    def valid_secrets(self, now: int) -> list[Secret]:
        """Return the secrets that count at `now`, the newest first."""
        return [one for one in self.secrets if one.expires_at is None or one.expires_at > now]


COLUMNS = tuple(destinations.c[name] for name in Destination.__struct_fields__)
_destinations = sa.select(*COLUMNS)
_existing = _destinations.where(destinations.c.deleted_at.is_(None))

# The scope in which something happened, and the one of the platform that its account belongs to.
_platform = scopes.alias("platform")
_platform_scope = (
    sa.select(_platform.c.id)
    .join_from(scopes, accounts, scopes.c.account == accounts.c.id)
    .join(
        _platform,
        sa.and_(
            _platform.c.account == accounts.c.platform, _platform.c.livemode == scopes.c.livemode
        ),
    )
    .where(scopes.c.id == sa.bindparam("wanted_scope"))
    .scalar_subquery()
)
_listening = (
    sa.select(
        destinations.c.id,
        destinations.c.scope,
        destinations.c.enabled_events,
        destinations.c.events_from,
    )
    .where(
        sa.or_(
            destinations.c.scope == sa.bindparam("wanted_scope"),
            destinations.c.scope == _platform_scope,
        ),
        destinations.c.payload == sa.bindparam("wanted_payload"),
        destinations.c.enabled,
        destinations.c.deleted_at.is_(None),
    )
    .order_by(destinations.c.seq)
)


def create_destination(connection: sa.Connection, destination: Destination) -> bool:
    """Store a new destination; False when its scope has as many as it may have."""
    counted = sa.select(sa.func.count()).where(
        destinations.c.scope == destination.scope, destinations.c.deleted_at.is_(None)
    )
    if connection.execute(counted).scalar_one() >= limits.DESTINATIONS_MAX:
        return False
    connection.execute(sa.insert(destinations), msgspec.structs.asdict(destination))
    memo.forget(connection)
    return True


def find_destination(
    connection: sa.Connection, scope: int, destination_id: str, *, lock: bool = False
) -> Destination | None:
    """Return a destination; None when `scope` has no such one, or has it no longer.

    With `lock`, inside `Ledger.write()`, nobody else changes it until we commit.
    """
    query = _existing.where(destinations.c.scope == scope, destinations.c.id == destination_id)
    query = query.with_for_update() if lock else query
    row = connection.execute(query).mappings().one_or_none()
    return read_row(row) if row else None


def update_destination(connection: sa.Connection, destination: Destination) -> None:
    """Store what a destination has become; read it with `lock` before."""
    connection.execute(
        sa.update(destinations)
        .where(destinations.c.id == destination.id)
        .values(**msgspec.structs.asdict(destination))
    )
    memo.forget(connection)


def list_destinations(
    connection: sa.Connection, scope: int, page: PageParams, *, payload: Payload | None = None
) -> tuple[list[Destination], bool] | None:
    """Return a page of the destinations, newest first, and whether there are more.

    Returns None when the cursor of `page` names no destination.
    """
    query = _existing if payload is None else _existing.where(destinations.c.payload == payload)
    found = read_page(connection, destinations, query, scope, page)
    return ([read_row(row) for row in found.rows], found.has_more) if found else None


def subscribed(connection: sa.Connection, scope: int, type_: str, payload: Payload) -> list[str]:
    """Return the ids of the destinations that want to know of an event in `scope`.

    They are those of the scope itself, and those of the platform that listen to its accounts.
    """
    wanted = {"wanted_scope": scope, "wanted_payload": payload}
    listening = memo.remembered(
        connection,
        ("listening", scope, payload),
        lambda: connection.execute(_listening, wanted).all(),
    )
    return [
        row.id
        for row in listening
        if ("@self" if row.scope == scope else "@accounts") in row.events_from
        and matches(row.enabled_events, type_)
    ]


def read_row(row: sa.RowMapping | dict[str, Any]) -> Destination:
    """Return the destination of a row that has `COLUMNS`."""
    values: dict[str, Any] = {**row, "secrets": [Secret(*one) for one in row["secrets"]]}
    return Destination(**values)
