"""Every change of the balance of a credit grant.

https://docs.stripe.com/api/billing/credit-balance-transaction. What a reader may rely on: a
transaction is added together with what it makes of its grant's balance, and never changed.
"""

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from meterhouse.billing.credit import Transaction
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import credit_transactions as transactions
from meterhouse.wire.page import PageParams

_transactions = sa.select(*(transactions.c[name] for name in Transaction.__struct_fields__))
_of_invoice = _transactions.where(
    transactions.c.invoice == sa.bindparam("invoice"), transactions.c.kind == "credits_applied"
).order_by(transactions.c.seq)
_by_ids = _transactions.where(any_of(transactions.c.id, "ids"))


def add(connection: sa.Connection, booked: Sequence[Transaction]) -> None:
    """Add transactions, together with what they make of their grants."""
    if booked:
        connection.execute(sa.insert(transactions), [msgspec.structs.asdict(one) for one in booked])


def find_transaction(
    connection: sa.Connection, scope: int, transaction_id: str
) -> Transaction | None:
    """Return a transaction; None when `scope` has none of this id."""
    query = _transactions.where(transactions.c.scope == scope, transactions.c.id == transaction_id)
    row = connection.execute(query).mappings().one_or_none()
    return Transaction(**row) if row else None


def list_transactions(
    connection: sa.Connection, scope: int, page: PageParams, customer: str, grant: str | None
) -> tuple[list[Transaction], bool] | None:
    """Return a page of a customer's transactions, newest first, and whether there are more.

    Returns None when the cursor of `page` names no transaction.
    """
    query = _transactions.where(transactions.c.customer == customer)
    if grant is not None:
        query = query.where(transactions.c.grant == grant)
    found = read_page(connection, transactions, query, scope, page)
    return ([Transaction(**row) for row in found.rows], found.has_more) if found else None


def applied_to(connection: sa.Connection, invoice_id: str) -> list[Transaction]:
    """Return the transactions with which credits were applied to an invoice, oldest first."""
    rows = connection.execute(_of_invoice, {"invoice": invoice_id}).mappings()
    return [Transaction(**row) for row in rows]


def by_ids(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Transaction]:
    """Return the transactions that have these ids."""
    rows = connection.execute(_by_ids, {"ids": list(ids)}).mappings()
    return {row["id"]: Transaction(**row) for row in rows}
