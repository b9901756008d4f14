"""The books of credits: whether what grants, transactions and invoices say of credits agrees.

Where nothing is wrong with us, it does.
"""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger.invoice_lines import lines_of
from meterhouse.ledger.tables import credit_grants as grants
from meterhouse.ledger.tables import credit_transactions as transactions

_total = sa.func.coalesce(
    sa.select(sa.cast(sa.func.sum(transactions.c.amount), sa.BigInteger))
    .where(transactions.c.grant == grants.c.id)
    .scalar_subquery(),
    0,
)
_wrong_balances = (
    sa.select(grants.c.scope, grants.c.id, grants.c.balance, _total)
    .where(grants.c.balance != _total)
    .order_by(grants.c.seq)
    .limit(sa.bindparam("rows"))
)
_applied = (
    sa.select(
        transactions.c.scope,
        transactions.c.invoice,
        sa.cast(-sa.func.sum(transactions.c.amount), sa.BigInteger),
    )
    .where(transactions.c.kind == "credits_applied", transactions.c.invoice > sa.bindparam("after"))
    .group_by(transactions.c.scope, transactions.c.invoice)
    .order_by(transactions.c.invoice)
    .limit(sa.bindparam("rows"))
)


class Wrong(NamedTuple):
    """An object whose `told` amount is not what its transactions come to."""

    scope: int
    id: str
    told: int
    total: int


def wrong_balances(connection: sa.Connection, rows_max: int) -> list[Wrong]:
    """Return up to `rows_max` of the grants whose balance is not the sum of their transactions."""
    return [Wrong(*row) for row in connection.execute(_wrong_balances, {"rows": rows_max})]


def wrong_invoices(
    connection: sa.Connection, after: str, rows_max: int
) -> tuple[Sequence[Wrong], str | None]:
    """Look at up to `rows_max` of the invoices that credits were applied to, `after` one of them.

    Returns those whose lines tell of other credits than were applied, and the invoice to go on
    after; None where that was the last.
    """
    rows = connection.execute(_applied, {"after": after, "rows": rows_max}).all()
    lines = lines_of(connection, [invoice for _, invoice, _ in rows])
    wrong = []
    for scope, invoice, total in rows:
        told = sum(credit.amount for line in lines[invoice] for credit in line.credits)
        if told != total:
            wrong.append(Wrong(scope, invoice, told, total))
    return wrong, rows[-1][1] if len(rows) == rows_max else None
