"""Pages of what the ledger lists: newest first, cut at the object that a cursor names.

https://docs.stripe.com/api/pagination
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from meterhouse.wire.page import PageParams

T = TypeVar("T")


class Rows(NamedTuple):
    """The rows of one page, newest first, and whether more lie beyond its far end."""

    rows: list[sa.RowMapping]
    has_more: bool


class Cut(NamedTuple):
    """Where a page lies: behind the row numbered `seq`, or before it, if a cursor names one."""

    seq: int | None
    backwards: bool
    limit: int

    def of(self, query: sa.Select[Any], seq: sa.ColumnElement[int]) -> sa.Select[Any]:
        """Cut the page, and one row more, out of a query; `seq` is the column of its order."""
        if self.seq is not None:
            query = query.where(seq > self.seq if self.backwards else seq < self.seq)
        return query.order_by(seq.asc() if self.backwards else seq.desc()).limit(self.limit + 1)

    def page(self, found: Sequence[T]) -> tuple[list[T], bool]:
        """Return the page of what such a query found, newest first, and whether there is more."""
        shown = list(found[: self.limit])
        return shown[::-1] if self.backwards else shown, len(found) > self.limit


def of_time(
    query: sa.Select[Any], created: sa.ColumnElement[int], window: tuple[int | None, int | None]
) -> sa.Select[Any]:
    """Leave of a query what was created in the half-open `window`; None is no bound."""
    start, end = window
    if start is not None:
        query = query.where(created >= start)
    if end is not None:
        query = query.where(created < end)
    return query


def find_cut(
    connection: sa.Connection, table: sa.Table, own: sa.ColumnElement[bool], page: PageParams
) -> Cut | None:
    """Return where a page lies among the rows that meet `own`; None when its cursor names none."""
    backwards = page.ending_before is not None
    cursor = page.ending_before if backwards else page.starting_after
    if cursor is None:
        return Cut(None, backwards, page.limit)
    named = sa.select(table.c.seq).where(own, table.c.id == cursor)
    seq = connection.execute(named).scalar_one_or_none()
    return None if seq is None else Cut(seq, backwards, page.limit)


def read_page(
    connection: sa.Connection,
    table: sa.Table,
    query: sa.Select[Any],
    scope: int | None,
    page: PageParams,
    *,
    own: sa.ColumnElement[bool] | None = None,
) -> Rows | None:
    """Cut a page out of the rows of `query` that belong to `scope`.

    `table` has the columns `seq` (its order), `id` and `scope`. Where `scope` is None the rows are
    those that meet `own`, or all of them, and `table` needs no column of that name. A cursor may
    name any row of the scope, also one that the filters of `query` leave out, so that a list can be
    read on while it changes. Returns None when the cursor names no row.
    """
    if own is None:
        own = sa.true() if scope is None else table.c.scope == scope
    cut = find_cut(connection, table, own, page)
    if cut is None:
        return None
    found = connection.execute(cut.of(query.where(own), table.c.seq)).mappings()
    return Rows(*cut.page(found.all()))
