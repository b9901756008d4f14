"""What is metered, by which dimensions; what is sold, and what it costs."""

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata

meters = sa.Table(
    "meters",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("event_name", sa.Text, nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("formula", sa.Text, nullable=False),
    sa.Column("event_time_window", sa.Text),
    sa.Column("customer_key", sa.Text, nullable=False),
    sa.Column("value_key", sa.Text, nullable=False),
    sa.Column("dimension_keys", sa.JSON(none_as_null=True)),
    sa.Column("dimension_version", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("created", Whole64, nullable=False),
    sa.Column("updated", Whole64, nullable=False),
    sa.Column("deactivated_at", Whole64),
    sa.CheckConstraint("formula IN ('count', 'last', 'sum')", name="formula"),
    sa.CheckConstraint("event_time_window IN ('day', 'hour')", name="event_time_window"),
    sa.CheckConstraint("status IN ('active', 'inactive')", name="status"),
    sa.CheckConstraint(
        "(status = 'inactive') = (deactivated_at IS NOT NULL)", name="deactivated_at"
    ),
)
sa.Index("ix_meters_scope_seq", meters.c.scope, meters.c.seq)
sa.Index("ix_meters_scope_event_name", meters.c.scope, meters.c.event_name)
sa.Index(
    "uq_meters_active_event_name",
    meters.c.scope,
    meters.c.event_name,
    unique=True,
    sqlite_where=meters.c.status == "active",
    postgresql_where=meters.c.status == "active",
)

products = sa.Table(
    "products",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),  # which its maker may have chosen
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("active", sa.Boolean(create_constraint=True, name="active"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("unit_label", sa.Text),
    sa.Column("default_price", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of what the sender told us
    sa.Column("created", Whole64, nullable=False),
    sa.Column("updated", Whole64, nullable=False),
    sa.UniqueConstraint("scope", "id"),
)
sa.Index("ix_products_scope_seq", products.c.scope, products.c.seq)

prices = sa.Table(
    "prices",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("product", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean(create_constraint=True, name="active"), nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("interval", sa.Text),  # null: billed once
    sa.Column("usage_type", sa.Text),
    sa.Column("meter", sa.Text, sa.ForeignKey("meters.id")),
    sa.Column("lookup_key", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.prices`)
    sa.Column("created", Whole64, nullable=False),
    sa.ForeignKeyConstraint(["scope", "product"], ["products.scope", "products.id"]),
    sa.UniqueConstraint("scope", "lookup_key"),
)
sa.Index("ix_prices_scope_seq", prices.c.scope, prices.c.seq)
sa.Index("ix_prices_scope_product_seq", prices.c.scope, prices.c.product, prices.c.seq)
sa.Index("ix_prices_meter", prices.c.meter)

dimension_combinations = sa.Table(
    "dimension_combinations",
    metadata,
    sa.Column("meter", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("customer", sa.Text, primary_key=True),
    sa.Column("digest", Whole64, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# Other dimensions for a meter: the version that a change makes, and how far its slots are rebuilt.
dimension_changes = sa.Table(
    "dimension_changes",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("meter", sa.Text, sa.ForeignKey("meters.id"), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("keys", sa.JSON(none_as_null=True)),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("events_total", Whole64),  # null: not counted yet
    sa.Column("created", Whole64, nullable=False),
    sa.Column("completed_at", Whole64),
    sa.Column("cleared", sa.Boolean(create_constraint=True, name="cleared"), nullable=False),
    sa.UniqueConstraint("meter", "version"),
    sa.CheckConstraint("status IN ('complete', 'running')", name="status"),
    sa.CheckConstraint("(status = 'complete') = (completed_at IS NOT NULL)", name="completed_at"),
)

# The months of a change that have slots: of all events up to a position, unless it was begun and
# is not known to be finished.
rebuilt_months = sa.Table(
    "rebuilt_months",
    metadata,
    sa.Column("change", Whole64, sa.ForeignKey("dimension_changes.seq"), primary_key=True),
    sa.Column("month", sa.Integer, primary_key=True, autoincrement=False),  # such as 202611
    sa.Column("position", Whole64, nullable=False),
    sa.Column("events", Whole64, nullable=False),
    sa.Column("begun", sa.Boolean(create_constraint=True, name="begun"), nullable=False),
)
