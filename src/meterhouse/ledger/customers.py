"""Customers: whose usage it is (https://docs.stripe.com/api/customers/object).

A deleted customer keeps its row, with its id and its instants and nothing else: its usage stays
readable, and events that were received before are still its own.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.paging import of_time, read_page
from meterhouse.ledger.tables import (
    credit_grants,
    customers,
    invoice_items,
    invoices,
    subscriptions,
)
from meterhouse.wire.page import PageParams
from meterhouse.wire.search import fold, fold_words

_BEGINNING_CHARS = 8  # of an id: its prefix, and some of the letters that tell it apart
_PREFIX_CHARS = 8  # of an invoice's number


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer; `deleted_at` is None while it exists.

    `test_clock` is the clock that it lives by, and `created` an instant of that. `balance` is what
    it owes beside its invoices, in minor units of `currency`: a credit is negative; `currency` is
    None until it is billed. `details` are those members of the object that the sender gave and
    Meterhouse only gives back, as the wire has them: `name`, `description`, `phone`, `address` …
    """

    id: str
    scope: int
    email: str | None
    metadata: dict[str, str]
    details: dict[str, Any]
    created: int
    deleted_at: int | None
    test_clock: str | None = None
    balance: int = 0
    currency: str | None = None
    invoice_prefix: str | None = None
    next_invoice_sequence: int = 1

    @property
    def prefix(self) -> str:
        """What the numbers of its invoices begin with: what it was given, or of its id."""
        return self.invoice_prefix or self.id.rpartition("_")[2][:_PREFIX_CHARS].upper()


_customers = sa.select(*(customers.c[name] for name in Customer.__struct_fields__))
_found = _customers.where(
    customers.c.scope == sa.bindparam("scope"), customers.c.id == sa.bindparam("customer")
)
_locked = _found.with_for_update()
_held = _customers.where(any_of(customers.c.id, "ids")).order_by(customers.c.id).with_for_update()
# What changes with each invoice, and is looked for by nobody.
_ACCOUNT = ("balance", "currency", "next_invoice_sequence")
_update_account = (
    sa.update(customers)
    .where(customers.c.id == sa.bindparam("of_id"))
    .values({name: sa.bindparam(name) for name in _ACCOUNT})
)
_numbered = _customers.where(any_of(customers.c.seq, "seqs")).order_by(customers.c.seq.desc())
_of_clock = (
    sa.select(customers.c.id)
    .where(customers.c.test_clock == sa.bindparam("test_clock"), customers.c.deleted_at.is_(None))
    .order_by(customers.c.seq)
)
_is_billed = sa.select(
    sa.or_(
        *(
            sa.exists().where(table.c.customer == sa.bindparam("customer"))
            for table in (subscriptions, invoices, invoice_items, credit_grants)
        )
    )
)
_count_deleted = sa.select(sa.func.count()).where(customers.c.deleted_at.is_not(None))
_known = sa.select(customers.c.scope, customers.c.id, customers.c.deleted_at).where(
    any_of(customers.c.id, "ids")
)


def create_customer(connection: sa.Connection, customer: Customer) -> None:
    """Store a new customer."""
    connection.execute(sa.insert(customers), _row(customer))


def find_customer(
    connection: sa.Connection, scope: int, customer_id: str, *, lock: bool = False
) -> Customer | None:
    """Return a customer, also a deleted one; None when `scope` never had it.

    With `lock`, inside `Ledger.write()`, nobody else changes it until we commit.
    """
    values = {"scope": scope, "customer": customer_id}
    row = connection.execute(_locked if lock else _found, values).mappings().one_or_none()
    return Customer(**row) if row else None


def hold(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Customer]:
    """Return these customers, for nobody else to change until we commit.

    They are locked in the order of their ids.
    """
    rows = connection.execute(_held, {"ids": list(ids)}).mappings()
    return {row["id"]: Customer(**row) for row in rows}


def update_customer(connection: sa.Connection, customer: Customer) -> None:
    """Store what a customer has become; read it with `lock` before."""
    connection.execute(
        sa.update(customers).where(customers.c.id == customer.id).values(**_row(customer))
    )


def update_accounts(connection: sa.Connection, some: Iterable[Customer]) -> None:
    """Store what customers owe beside their invoices by now, and the number of their next one.

    That is their `balance`, their `currency` and `next_invoice_sequence`; hold them before.
    """
    rows = [{"of_id": one.id, **{name: getattr(one, name) for name in _ACCOUNT}} for one in some]
    if rows:
        connection.execute(_update_account, rows)


def delete_customer(connection: sa.Connection, scope: int, customer_id: str, now: int) -> bool:
    """Delete a customer and what is known of it; False when there is none, or none any more."""
    customer = find_customer(connection, scope, customer_id, lock=True)
    if customer is None or customer.deleted_at is not None:
        return False
    nobody = msgspec.structs.replace(customer, email=None, metadata={}, details={}, deleted_at=now)
    update_customer(connection, nobody)
    return True


def list_customers(
    connection: sa.Connection,
    scope: int,
    page: PageParams,
    *,
    email: str | None = None,
    created: tuple[int | None, int | None] = (None, None),
    test_clock: str | None = None,
) -> tuple[list[Customer], bool] | None:
    """Return a page of the customers that exist, newest first, and whether there are more.

    Those of a `test_clock` are left out unless it is named; then they are all. `email` is compared
    exactly; `created` is a half-open window, open where a bound is None. Returns None when the
    cursor of `page` names no customer.
    """
    # `== None` becomes IS NULL.
    query = _customers.where(customers.c.deleted_at.is_(None), customers.c.test_clock == test_clock)
    if email is not None:
        query = query.where(customers.c.email == email)
    query = of_time(query, customers.c.created, created)
    found = read_page(connection, customers, query, scope, page)
    return ([Customer(**row) for row in found.rows], found.has_more) if found else None


def of_test_clock(connection: sa.Connection, test_clock: str) -> list[str]:
    """Return the ids of the customers of a clock that exist, oldest first."""
    return list(connection.execute(_of_clock, {"test_clock": test_clock}).scalars())


def is_billed(connection: sa.Connection, customer_id: str) -> bool:
    """Tell whether a customer has, or ever had, anything that it is billed for."""
    billed: bool = connection.execute(_is_billed, {"customer": customer_id}).scalar_one()
    return billed


def customers_numbered(connection: sa.Connection, seqs: list[int]) -> list[Customer]:
    """Return the customers in rows with these numbers, newest first."""
    rows = connection.execute(_numbered, {"seqs": seqs}).mappings()
    return [Customer(**row) for row in rows]


def count_deleted(connection: sa.Connection) -> int:
    """Count the deleted customers of all scopes; the number never falls."""
    counted: int = connection.execute(_count_deleted).scalar_one()
    return counted


def near(connection: sa.Connection, scope: int, customer_id: str, rows_max: int) -> list[str]:
    """Return ids that `customer_id` may have been meant to be, at most twice `rows_max`.

    They are those that begin alike, and those of the newest customers.
    """
    mine = sa.select(customers.c.id).where(
        customers.c.scope == scope, customers.c.deleted_at.is_(None)
    )
    beginning = customer_id[:_BEGINNING_CHARS]
    alike = mine.where(customers.c.id >= beginning, customers.c.id < beginning + "\U0010ffff")
    newest = mine.order_by(customers.c.seq.desc())
    found = [connection.execute(query.limit(rows_max)).scalars() for query in (alike, newest)]
    return list(dict.fromkeys(chain.from_iterable(found)))


def known(
    connection: sa.Connection, pairs: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], int | None]:
    """Return those of the (scope, id) `pairs` that are customers, and when each was deleted."""
    wanted = set(pairs)
    rows = connection.execute(_known, {"ids": [customer_id for _, customer_id in wanted]})
    return {
        (scope, customer_id): deleted_at
        for scope, customer_id, deleted_at in rows
        if (scope, customer_id) in wanted
    }


def _row(customer: Customer) -> dict[str, Any]:
    """Return what is stored of a customer: its members, and some of them as they are searched."""
    details = customer.details
    texts = {
        "description": details.get("description"),
        "email": customer.email,
        "name": details.get("name"),
        "phone": details.get("phone"),
    }
    folded: dict[str, Any] = {
        f"folded_{field}": None if text is None else fold_words(text)
        for field, text in texts.items()
    }
    folded["folded_metadata"] = {key: fold(text) for key, text in customer.metadata.items()}
    return msgspec.structs.asdict(customer) | folded
