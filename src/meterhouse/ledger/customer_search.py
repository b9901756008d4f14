"""Customers by a query in Stripe's search query language (https://docs.stripe.com/search).

The customers of one scope that exist are searched, and each is found as soon as it is stored. Each
of several alternatives is looked for by itself, newest first: emails by an index of their own, all
else by the terms of customers. Only what no term tells is looked at customer by customer.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse.ledger.customer_terms import Terms, Way, pieces, terms_of, way_to
from meterhouse.ledger.customers import Customer, customers_numbered
from meterhouse.ledger.dialect import member_of
from meterhouse.ledger.paging import find_cut
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
_NEWEST, _OLDEST = customers.c.seq.desc(), customers.c.seq.asc()


class Found(NamedTuple):
    """A page of customers, newest first, whether there are more, and how many if that was asked."""

    customers: list[Customer]
    has_more: bool
    total: int | None


class _Alternative(NamedTuple):
    """What customers must be, the terms of those who are, and when they must be created."""

    condition: sa.ColumnElement[bool]
    terms: Terms = Terms()
    created: sa.ColumnElement[bool] | None = None


def search_customers(
    connection: sa.Connection, scope: int, search: Search, page: PageParams, *, count: bool = False
) -> Found | None:
    """Return a page of the customers that a search finds; None when its cursor names none.

    With `count` all of them are counted, up to `SEARCH_TOTAL_ROWS_MAX`.
    """
    if search.any:
        alternatives = [_all_of([clause]) for clause in search.clauses]
    else:
        alternatives = [_all_of(search.clauses)]
    found = _page(connection, scope, alternatives, page)
    if found is None:
        return None
    shown, has_more = found
    total = None
    if count:
        whole = not (has_more or page.cursor)
        total = len(shown) if whole else _count(connection, scope, alternatives)
    return Found(shown, has_more, total)


def customers_called(
    connection: sa.Connection, scope: int, text: str, page: PageParams
) -> tuple[list[Customer], bool] | None:
    """Return a page of the customers that exist and are called so, in part, newest first.

    `text` is a part of the id, the email, the name or the description, in any case of letters. The
    page comes with whether there are more. Returns None when its cursor names no customer.
    """
    part = fold_part(text)
    places = {
        "description": customers.c.folded_description.contains(part, autoescape=True),
        "email": customers.c.folded_email.contains(part, autoescape=True),
        "id": customers.c.id.icontains(part, autoescape=True),
        "name": customers.c.folded_name.contains(part, autoescape=True),
    }
    alternatives = [_Alternative(holds, pieces(field, part)) for field, holds in places.items()]
    if not alternatives[0].terms.needed:  # a text so short is soon found, if customer by customer
        alternatives = [_Alternative(sa.or_(*places.values()))]
    return _page(connection, scope, alternatives, page)


def _page(
    connection: sa.Connection, scope: int, alternatives: Iterable[_Alternative], page: PageParams
) -> tuple[list[Customer], bool] | None:
    cut = find_cut(connection, customers, customers.c.scope == scope, page)
    if cut is None:
        return None
    found: set[int] = set()
    for alternative in alternatives:
        query, way = _query(connection, scope, alternative)
        found.update(connection.execute(cut.of(query, way.seq)).scalars())
    shown, has_more = cut.page(sorted(found, reverse=not cut.backwards))
    return customers_numbered(connection, shown), has_more


def _count(connection: sa.Connection, scope: int, alternatives: Iterable[_Alternative]) -> int:
    if connection.dialect.name == "postgresql":
        # It makes the terms of whomever it counts anew; to compare everybody is less work.
        alternatives = [alternative._replace(terms=Terms()) for alternative in alternatives]
    found: set[int] = set()
    for alternative in alternatives:
        query, way = _query(connection, scope, alternative)
        query = query.order_by(way.seq.desc()) if way.ordered else query
        found.update(connection.execute(query.limit(SEARCH_TOTAL_ROWS_MAX)).scalars())
    return min(len(found), SEARCH_TOTAL_ROWS_MAX)


def _query(
    connection: sa.Connection, scope: int, alternative: _Alternative
) -> tuple[sa.Select[Any], Way]:
    """Return a query for the numbers of the customers of an alternative, and its way to them."""
    mine = sa.and_(customers.c.scope == scope, customers.c.deleted_at.is_(None))
    way = way_to(connection.dialect.name, scope, alternative.terms, alternative.condition)
    query = sa.select(way.seq).select_from(way.source).where(mine, way.condition)
    if alternative.created is None:
        return query, way
    query = query.where(alternative.created)
    if way.ordered:  # by terms that tell nothing of when; those of then are from here to there
        then = sa.select(customers.c.seq).where(mine, alternative.created).limit(1)
        first, last = (then.order_by(order).scalar_subquery() for order in (_OLDEST, _NEWEST))
        query = query.where(way.seq >= first, way.seq <= last)
    return query, way


def _all_of(clauses: Sequence[Clause]) -> _Alternative:
    when = [_holds(clause) for clause in clauses if clause.field == "created"]
    created = sa.and_(*when) if when else None
    rest = [clause for clause in clauses if clause.field != "created"]
    condition = sa.and_(sa.true(), *map(_holds, rest))
    if any(clause.field == "email" and _is_exact(clause) for clause in rest):
        return _Alternative(condition, created=created)  # its index has the fewest
    terms = [terms_of(clause) for clause in rest]
    needed, barred = (
        tuple(chain.from_iterable(kind)) for kind in zip(Terms(), *terms, strict=True)
    )
    return _Alternative(condition, Terms(needed, barred), created)


def _is_exact(clause: Clause) -> bool:
    return clause.operator == ":" and clause.value is not None and not clause.negated


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
