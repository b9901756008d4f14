"""Customers by a query in Stripe's search query language (https://docs.stripe.com/search).

The customers of one scope that exist are searched, and each is found as soon as it is stored. An
email is found by an index; whatever else a query asks is looked at customer by customer.
"""

from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger.customers import Customer, page_of_customers
from meterhouse.ledger.dialect import member_of
from meterhouse.ledger.tables import customers
from meterhouse.limits import REQUEST_TIMESTAMP_SECONDS_MAX, SEARCH_TOTAL_ROWS_MAX
from meterhouse.wire.page import PageParams
from meterhouse.wire.search import METADATA, Clause, Kind, Search, fold, fold_part, fold_words

FIELDS: dict[str, Kind] = {
    "created": "numeric",
    "email": "string",
    "metadata": "token",
    "name": "string",
    "phone": "string",
}


class Found(NamedTuple):
    """A page of customers, newest first, whether there are more, and how many if that was asked."""

    customers: list[Customer]
    has_more: bool
    total: int | None


def search_customers(
    connection: sa.Connection, scope: int, search: Search, page: PageParams, *, count: bool = False
) -> Found | None:
    """Return a page of the customers that a search finds; None when its cursor names none.

    With `count` all of them are counted, up to `SEARCH_TOTAL_ROWS_MAX`.
    """
    condition = _condition(search)
    found = page_of_customers(connection, scope, page, condition)
    if found is None:
        return None
    return Found(*found, total=_count(connection, scope, condition) if count else None)


def _count(connection: sa.Connection, scope: int, condition: sa.ColumnElement[bool]) -> int:
    some = sa.select(customers.c.seq).where(
        customers.c.scope == scope, customers.c.deleted_at.is_(None), condition
    )
    query = sa.select(sa.func.count()).select_from(some.limit(SEARCH_TOTAL_ROWS_MAX).subquery())
    counted: int = connection.execute(query).scalar_one()
    return counted


def _condition(search: Search) -> sa.ColumnElement[bool]:
    conditions = [_holds(clause) for clause in search.clauses]
    return sa.or_(*conditions) if search.any else sa.and_(*conditions)


def _holds(clause: Clause) -> sa.ColumnElement[bool]:
    condition = _created(clause) if clause.field == "created" else _text(clause)
    if not clause.negated:
        return condition
    return sa.not_(sa.func.coalesce(condition, sa.false()))  # what is absent is unlike any value


def _text(clause: Clause) -> sa.ColumnElement[bool]:
    field, operator, value, key, _ = clause
    column: sa.ColumnElement[str] = customers.c[f"folded_{field}"]
    if field == METADATA:
        column = member_of(column, key)
    if value is None:
        return column.is_(None)
    text = str(value)
    if operator == "~":
        return column.contains(fold_part(text), autoescape=True)
    if field == METADATA:
        return column == fold(text)
    if field == "email":  # which is one word
        return column == fold_words(text)
    return column.contains(fold_words(text), autoescape=True)


def _created(clause: Clause) -> sa.ColumnElement[bool]:
    """Compare in seconds: every millisecond belongs to its second."""
    if clause.value is None:
        return sa.false()
    column = customers.c.created
    second = min(max(int(clause.value), -1), REQUEST_TIMESTAMP_SECONDS_MAX + 1)
    start, end = second * 1000, (second + 1) * 1000
    return {
        ":": sa.and_(column >= start, column < end),
        ">": column >= end,
        ">=": column >= start,
        "<": column < start,
        "<=": column < end,
    }[clause.operator]
