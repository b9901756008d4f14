"""Pages of what the ledger lists: newest first, cut at the object that a cursor names.

https://docs.stripe.com/api/pagination
"""

from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse.wire.page import PageParams


class Rows(NamedTuple):
    """The rows of one page, newest first, and whether more lie beyond its far end."""

    rows: list[sa.RowMapping]
    has_more: bool


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
    query = query.where(own)
    backwards = page.ending_before is not None
    cursor = page.ending_before if backwards else page.starting_after
    if cursor is not None:
        named = sa.select(table.c.seq).where(own, table.c.id == cursor)
        seq = connection.execute(named).scalar_one_or_none()
        if seq is None:
            return None
        query = query.where(table.c.seq > seq if backwards else table.c.seq < seq)
    order = table.c.seq.asc() if backwards else table.c.seq.desc()
    one_more = query.order_by(order).limit(page.limit + 1)
    rows = list(connection.execute(one_more).mappings())
    shown = rows[: page.limit]
    return Rows(shown[::-1] if backwards else shown, has_more=len(rows) > page.limit)
