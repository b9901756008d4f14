"""Thresholds of subscriptions, and what was billed early because of them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Whole64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add what is new of subscriptions, their items, and what invoices bill."""
    op.add_column(
        "subscriptions", sa.Column("watched", sa.Boolean, server_default=sa.false(), nullable=False)
    )
    op.create_index("ix_subscriptions_watched", "subscriptions", ["watched"])
    op.create_table(
        "watched_meters",
        sa.Column("meter", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meters.id"], name="fk_watched_meters_meter"),
        sa.PrimaryKeyConstraint("meter", name="pk_watched_meters"),
        sqlite_with_rowid=False,
    )
    op.add_column("subscription_items", sa.Column("usage_gte", Whole64))
    op.add_column(
        "invoice_segments",
        sa.Column("early", sa.Boolean, server_default=sa.false(), nullable=False),
    )
