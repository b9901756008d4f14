"""Credit grants, and the transactions of their balances."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

Whole64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _credit_grants()
    _credit_transactions()


def _credit_grants() -> None:
    op.create_table(
        "credit_grants",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("test_clock", sa.Text),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount", Whole64, nullable=False),
        sa.Column("balance", Whole64, nullable=False),
        sa.Column("due", Whole64),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.CheckConstraint(
            "balance >= 0 AND balance <= amount", name=op.f("ck_credit_grants_balance")
        ),
        sa.ForeignKeyConstraint(["customer"], ["customers.id"], name="fk_credit_grants_customer"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_credit_grants_scope"),
        sa.PrimaryKeyConstraint("seq", name="pk_credit_grants"),
        sa.UniqueConstraint("id", name="uq_credit_grants_id"),
    )
    op.create_index("ix_credit_grants_customer_seq", "credit_grants", ["customer", "seq"])
    op.create_index("ix_credit_grants_scope_seq", "credit_grants", ["scope", "seq"])
    op.create_index("ix_credit_grants_test_clock_due", "credit_grants", ["test_clock", "due"])


def _credit_transactions() -> None:
    op.create_table(
        "credit_transactions",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("test_clock", sa.Text),
        sa.Column("grant", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount", Whole64, nullable=False),
        sa.Column("invoice", sa.Text),
        sa.Column("line", sa.Text),
        sa.Column("effective_at", Whole64, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.ForeignKeyConstraint(
            ["grant"], ["credit_grants.id"], name="fk_credit_transactions_grant"
        ),
        sa.ForeignKeyConstraint(
            ["invoice"], ["invoices.id"], name="fk_credit_transactions_invoice"
        ),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_credit_transactions_scope"),
        sa.PrimaryKeyConstraint("seq", name="pk_credit_transactions"),
        sa.UniqueConstraint("id", name="uq_credit_transactions_id"),
    )
    op.create_index(
        "ix_credit_transactions_customer_seq", "credit_transactions", ["customer", "seq"]
    )
    op.create_index("ix_credit_transactions_grant_seq", "credit_transactions", ["grant", "seq"])
    op.create_index("ix_credit_transactions_invoice", "credit_transactions", ["invoice"])
