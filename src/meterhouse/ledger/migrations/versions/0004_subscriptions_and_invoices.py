"""Subscriptions, invoices, and the clocks to try them by."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Whole64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and what is new of customers."""
    _customers()
    _test_clocks()
    _subscriptions()
    _invoices()
    _subscription_items()
    _invoice_items()
    _invoice_lines()
    _invoice_segments()
    _holdups()


def _customers() -> None:
    op.add_column("customers", sa.Column("test_clock", sa.Text))
    op.add_column("customers", sa.Column("balance", Whole64, server_default="0", nullable=False))
    op.add_column("customers", sa.Column("currency", sa.Text))
    op.add_column("customers", sa.Column("invoice_prefix", sa.Text))
    op.add_column(
        "customers", sa.Column("next_invoice_sequence", Whole64, server_default="1", nullable=False)
    )
    op.create_index("ix_customers_test_clock", "customers", ["test_clock"])


def _test_clocks() -> None:
    op.create_table(
        "test_clocks",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("frozen_time", Whole64, nullable=False),
        sa.Column("target", Whole64),
        sa.Column(
            "failed",
            sa.Boolean(create_constraint=True, name="ck_test_clocks_failed"),
            nullable=False,
        ),
        sa.Column("created", Whole64, nullable=False),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_test_clocks_scope"),
        sa.PrimaryKeyConstraint("seq", name="pk_test_clocks"),
        sa.UniqueConstraint("id", name="uq_test_clocks_id"),
    )
    op.create_index("ix_test_clocks_scope_seq", "test_clocks", ["scope", "seq"])


def _subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("test_clock", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("due", Whole64),
        sa.Column("revision", Whole64, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.ForeignKeyConstraint(["customer"], ["customers.id"], name="fk_subscriptions_customer"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_subscriptions_scope"),
        sa.PrimaryKeyConstraint("seq", name="pk_subscriptions"),
        sa.UniqueConstraint("id", name="uq_subscriptions_id"),
    )
    op.create_index("ix_subscriptions_customer_seq", "subscriptions", ["customer", "seq"])
    op.create_index("ix_subscriptions_scope_seq", "subscriptions", ["scope", "seq"])
    op.create_index("ix_subscriptions_test_clock_due", "subscriptions", ["test_clock", "due"])


def _invoices() -> None:
    op.create_table(
        "invoices",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("subscription", sa.Text),
        sa.Column("test_clock", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("number", sa.Text),
        sa.Column("due", Whole64),
        sa.Column("due_date", Whole64),
        sa.Column("total", Whole64, nullable=False),
        sa.Column("finalized_at", Whole64),
        sa.Column("revision", Whole64, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.ForeignKeyConstraint(["customer"], ["customers.id"], name="fk_invoices_customer"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_invoices_scope"),
        sa.ForeignKeyConstraint(
            ["subscription"], ["subscriptions.id"], name="fk_invoices_subscription"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_invoices"),
        sa.UniqueConstraint("customer", "number", name="uq_invoices_customer_number"),
        sa.UniqueConstraint("id", name="uq_invoices_id"),
    )
    op.create_index("ix_invoices_customer_seq", "invoices", ["customer", "seq"])
    op.create_index("ix_invoices_scope_finalized_at", "invoices", ["scope", "finalized_at"])
    op.create_index("ix_invoices_scope_seq", "invoices", ["scope", "seq"])
    op.create_index("ix_invoices_subscription_seq", "invoices", ["subscription", "seq"])
    op.create_index("ix_invoices_test_clock_due", "invoices", ["test_clock", "due"])


def _subscription_items() -> None:
    op.create_table(
        "subscription_items",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("subscription", sa.Text, nullable=False),
        sa.Column("price", sa.Text, nullable=False),
        sa.Column("quantity", Whole64),
        sa.Column("period_start", Whole64, nullable=False),
        sa.Column("period_end", Whole64, nullable=False),
        sa.Column("since", Whole64, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.ForeignKeyConstraint(["price"], ["prices.id"], name="fk_subscription_items_price"),
        sa.ForeignKeyConstraint(
            ["subscription"], ["subscriptions.id"], name="fk_subscription_items_subscription"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_subscription_items"),
        sa.UniqueConstraint("id", name="uq_subscription_items_id"),
    )
    op.create_index("ix_subscription_items_price", "subscription_items", ["price"])
    op.create_index(
        "ix_subscription_items_subscription_seq", "subscription_items", ["subscription", "seq"]
    )


def _invoice_items() -> None:
    op.create_table(
        "invoice_items",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("subscription", sa.Text),
        sa.Column("invoice", sa.Text),
        sa.Column("test_clock", sa.Text),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.ForeignKeyConstraint(["customer"], ["customers.id"], name="fk_invoice_items_customer"),
        sa.ForeignKeyConstraint(["invoice"], ["invoices.id"], name="fk_invoice_items_invoice"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_invoice_items_scope"),
        sa.ForeignKeyConstraint(
            ["subscription"], ["subscriptions.id"], name="fk_invoice_items_subscription"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_invoice_items"),
        sa.UniqueConstraint("id", name="uq_invoice_items_id"),
    )
    op.create_index("ix_invoice_items_customer_invoice", "invoice_items", ["customer", "invoice"])
    op.create_index("ix_invoice_items_invoice", "invoice_items", ["invoice"])
    op.create_index("ix_invoice_items_scope_seq", "invoice_items", ["scope", "seq"])


def _invoice_lines() -> None:
    op.create_table(
        "invoice_lines",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("invoice", sa.Text, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("segment", sa.Integer),
        sa.Column("amount", Whole64, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["invoice"], ["invoices.id"], name="fk_invoice_lines_invoice"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_invoice_lines_scope"),
        sa.PrimaryKeyConstraint("seq", name="pk_invoice_lines"),
        sa.UniqueConstraint("id", name="uq_invoice_lines_id"),
    )
    op.create_index("ix_invoice_lines_invoice_place", "invoice_lines", ["invoice", "place"])


def _invoice_segments() -> None:
    op.create_table(
        "invoice_segments",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("invoice", sa.Text, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("meter", sa.Text, nullable=False),
        sa.Column("price", sa.Text, nullable=False),
        sa.Column("subscription_item", sa.Text),
        sa.Column("invoice_item", sa.Text),
        sa.Column("usage_start", Whole64, nullable=False),
        sa.Column("usage_end", Whole64, nullable=False),
        sa.Column("period_start", Whole64, nullable=False),
        sa.Column("period_end", Whole64, nullable=False),
        sa.Column(
            "free",
            sa.Boolean(create_constraint=True, name="ck_invoice_segments_free"),
            nullable=False,
        ),
        sa.Column("late", sa.Text),
        sa.Column("billed_before", Whole64, nullable=False),
        sa.Column("usage", sa.Text, nullable=False),
        sa.Column("events", Whole64, nullable=False),
        sa.Column("amount", Whole64, nullable=False),
        sa.Column("counted_at", Whole64),
        sa.ForeignKeyConstraint(["invoice"], ["invoices.id"], name="fk_invoice_segments_invoice"),
        sa.ForeignKeyConstraint(["meter"], ["meters.id"], name="fk_invoice_segments_meter"),
        sa.ForeignKeyConstraint(["price"], ["prices.id"], name="fk_invoice_segments_price"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_invoice_segments_scope"),
        sa.PrimaryKeyConstraint("seq", name="pk_invoice_segments"),
        sa.UniqueConstraint("invoice", "place", name="uq_invoice_segments_invoice_place"),
    )
    op.create_index(
        "ix_invoice_segments_customer_meter",
        "invoice_segments",
        ["customer", "meter", "usage_start"],
    )
    op.create_index(
        "ix_invoice_segments_scope_usage_end", "invoice_segments", ["scope", "usage_end"]
    )


def _holdups() -> None:
    op.create_table(
        "holdups",
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("due", Whole64, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("test_clock", sa.Text),
        sa.Column("code", sa.Text),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("since", Whole64, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("again_at", Whole64),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_holdups_scope"),
        sa.PrimaryKeyConstraint("object", name="pk_holdups"),
    )
    op.create_index("ix_holdups_scope_since", "holdups", ["scope", "since"])
