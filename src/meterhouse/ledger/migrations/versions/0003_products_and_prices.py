"""What is sold, and what it costs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Whole64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _products()
    _prices()


def _products() -> None:
    op.create_table(
        "products",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column(
            "active", sa.Boolean(create_constraint=True, name="ck_products_active"), nullable=False
        ),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("unit_label", sa.Text),
        sa.Column("default_price", sa.Text),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("updated", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_products"),
        sa.UniqueConstraint("scope", "id", name="uq_products_scope_id"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_products_scope"),
    )
    op.create_index("ix_products_scope_seq", "products", ["scope", "seq"])


def _prices() -> None:
    op.create_table(
        "prices",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("product", sa.Text, nullable=False),
        sa.Column(
            "active", sa.Boolean(create_constraint=True, name="ck_prices_active"), nullable=False
        ),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("interval", sa.Text),
        sa.Column("usage_type", sa.Text),
        sa.Column("meter", sa.Text),
        sa.Column("lookup_key", sa.Text),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_prices"),
        sa.UniqueConstraint("id", name="uq_prices_id"),
        sa.UniqueConstraint("scope", "lookup_key", name="uq_prices_scope_lookup_key"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_prices_scope"),
        sa.ForeignKeyConstraint(
            ["scope", "product"],
            ["products.scope", "products.id"],
            name="fk_prices_scope_product",
        ),
        sa.ForeignKeyConstraint(["meter"], ["meters.id"], name="fk_prices_meter"),
    )
    op.create_index("ix_prices_scope_seq", "prices", ["scope", "seq"])
    op.create_index("ix_prices_scope_product_seq", "prices", ["scope", "product", "seq"])
    op.create_index("ix_prices_meter", "prices", ["meter"])
