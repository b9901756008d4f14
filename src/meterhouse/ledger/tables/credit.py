"""What customers have to use metered prices for, and every change of it."""

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata

credit_grants = sa.Table(
    "credit_grants",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("test_clock", sa.Text),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("amount", Whole64, nullable=False),
    sa.Column("balance", Whole64, nullable=False),  # the sum of its transactions
    sa.Column("due", Whole64),  # when what is left expires; null: never, or nothing is left
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.credit_grants`)
    sa.Column("created", Whole64, nullable=False),
    sa.CheckConstraint("balance >= 0 AND balance <= amount", name="balance"),
)
sa.Index("ix_credit_grants_scope_seq", credit_grants.c.scope, credit_grants.c.seq)
sa.Index("ix_credit_grants_customer_seq", credit_grants.c.customer, credit_grants.c.seq)
sa.Index("ix_credit_grants_test_clock_due", credit_grants.c.test_clock, credit_grants.c.due)

# Rows are added, and never changed.
credit_transactions = sa.Table(
    "credit_transactions",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("test_clock", sa.Text),
    sa.Column("grant", sa.Text, sa.ForeignKey("credit_grants.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("amount", Whole64, nullable=False),  # below zero where the balance becomes less
    sa.Column("invoice", sa.Text, sa.ForeignKey("invoices.id")),
    sa.Column("line", sa.Text),
    sa.Column("effective_at", Whole64, nullable=False),
    sa.Column("created", Whole64, nullable=False),
)
sa.Index(
    "ix_credit_transactions_customer_seq", credit_transactions.c.customer, credit_transactions.c.seq
)
sa.Index("ix_credit_transactions_grant_seq", credit_transactions.c.grant, credit_transactions.c.seq)
sa.Index("ix_credit_transactions_invoice", credit_transactions.c.invoice)
