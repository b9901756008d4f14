"""Test clocks: the time that customers live by, instead of the machine's.

https://docs.stripe.com/api/test_clocks. A clock stands still at its frozen time; where it has a
`target` it is on its way there, and `jobs.invoice` plays what is due until then. A customer has the
clock that it was made with, for good; what is billed to it has the same one.
"""

from collections.abc import Collection

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import (
    customers,
    scopes,
    subscription_items,
    subscriptions,
    test_clocks,
)
from meterhouse.wire.page import PageParams


class TestClock(msgspec.Struct, frozen=True, kw_only=True):
    """A clock. `created` is an instant of the machine's time; `target` is None while it stands.

    One that has `failed` stands where something could not be done that was due on its way.
    """

    __test__ = False  # it is none, whatever its name says

    id: str
    scope: int
    name: str | None
    frozen_time: int
    target: int | None = None
    failed: bool = False
    created: int


_clocks = sa.select(*(test_clocks.c[name] for name in TestClock.__struct_fields__))
_advancing = sa.select(test_clocks.c.scope, test_clocks.c.id).where(
    test_clocks.c.target.is_not(None)
)
_ANY = "SELECT EXISTS (SELECT 1 FROM test_clocks)"
_clocked_scopes = sa.select(scopes.c.id).where(
    any_of(scopes.c.id, "scopes"),
    sa.exists().where(test_clocks.c.scope == scopes.c.id),
)
_frozen = (
    sa.select(customers.c.scope, customers.c.id, test_clocks.c.frozen_time)
    .join(test_clocks, test_clocks.c.id == customers.c.test_clock)
    .where(any_of(customers.c.id, "customers"))
)

_subscribed = (
    sa.select(subscription_items.c.price)
    .join(subscriptions, subscriptions.c.id == subscription_items.c.subscription)
    .where(
        subscriptions.c.test_clock == sa.bindparam("clock"), subscriptions.c.status != "canceled"
    )
    .distinct()
)


def create_test_clock(connection: sa.Connection, clock: TestClock) -> None:
    """Store a new clock."""
    connection.execute(sa.insert(test_clocks), msgspec.structs.asdict(clock))


def find_test_clock(
    connection: sa.Connection, scope: int, clock_id: str, *, lock: bool = False
) -> TestClock | None:
    """Return a clock; None when `scope` has none of this id.

    With `lock`, inside `Ledger.write()`, nobody else changes it until we commit.
    """
    query = _clocks.where(test_clocks.c.scope == scope, test_clocks.c.id == clock_id)
    query = query.with_for_update() if lock else query
    row = connection.execute(query).mappings().one_or_none()
    return TestClock(**row) if row else None


def update_test_clock(connection: sa.Connection, clock: TestClock) -> None:
    """Store what a clock has become; read it with `lock` before."""
    connection.execute(
        sa.update(test_clocks)
        .where(test_clocks.c.id == clock.id)
        .values(**msgspec.structs.asdict(clock))
    )


def delete_test_clock(connection: sa.Connection, clock: TestClock) -> None:
    """Delete a clock; whoever lives by it must have gone before."""
    connection.execute(sa.delete(test_clocks).where(test_clocks.c.id == clock.id))


def list_test_clocks(
    connection: sa.Connection, scope: int, page: PageParams
) -> tuple[list[TestClock], bool] | None:
    """Return a page of the clocks, newest first, and whether there are more.

    Returns None when the cursor of `page` names no clock.
    """
    found = read_page(connection, test_clocks, _clocks, scope, page)
    return ([TestClock(**row) for row in found.rows], found.has_more) if found else None


def advancing(connection: sa.Connection) -> list[tuple[int, str]]:
    """Return the scopes and ids of the clocks that are on their way."""
    return [(scope, clock_id) for scope, clock_id in connection.execute(_advancing)]


def hold_advancing(connection: sa.Connection, clock_id: str) -> bool:
    """Tell whether a clock is on its way, for nobody else to change until we commit."""
    query = sa.select(test_clocks.c.target).where(test_clocks.c.id == clock_id)
    return connection.execute(query.with_for_update()).scalar_one_or_none() is not None


def subscribed_prices(connection: sa.Connection, clock_id: str) -> list[str]:
    """Return the ids of the prices that customers of a clock are subscribed to."""
    return list(connection.execute(_subscribed, {"clock": clock_id}).scalars())


def scopes_with_clocks(connection: sa.Connection, wanted: Collection[int]) -> set[int]:
    """Return those of the `wanted` scopes that have a clock at all.

    Each commit of events asks: so where there is none, it takes next to nothing.
    """
    if not connection.exec_driver_sql(_ANY).scalar():
        return set()
    return set(connection.execute(_clocked_scopes, {"scopes": list(wanted)}).scalars())


def frozen_times(
    connection: sa.Connection, pairs: Collection[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    """Return what time it is for those of the (scope, customer) `pairs` that live by a clock."""
    rows = connection.execute(_frozen, {"customers": [customer for _, customer in pairs]})
    return {
        (scope, customer): frozen_time
        for scope, customer, frozen_time in rows
        if (scope, customer) in pairs
    }
