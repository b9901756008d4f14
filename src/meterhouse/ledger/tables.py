"""The tables of the ledger.

What a reader may rely on:

- Instants are milliseconds since the epoch.
- A *scope* is one account in one mode (test or live): the wall between books. Every row that
  belongs to a customer of ours carries its scope.
- A *position* numbers acknowledged work. On SQLite they are in commit order: a reader that has seen
  position p will never see a smaller one appear. On PostgreSQL, where several processes commit at a
  time, a smaller one may appear later. Positions that are not needed are left out.
- The migrations from zero give exactly these tables; a test compares them.
"""

from typing import Any

import sqlalchemy as sa

from meterhouse.limits import JOURNAL_COMMIT_POSITIONS

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column of type INTEGER, which holds 64 bits there.
Whole64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("platform", sa.Text, sa.ForeignKey("accounts.id")),  # null: the default account
    sa.Column("name", sa.Text),
    sa.Column("created", Whole64, nullable=False),
)

scopes = sa.Table(
    "scopes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.Text, sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("livemode", sa.Boolean(create_constraint=True, name="livemode"), nullable=False),
    sa.UniqueConstraint("account", "livemode"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),  # SHA-256 of the secret
    sa.Column("hint", sa.Text, nullable=False),  # the masked secret, for people
    sa.Column("permissions", sa.JSON, nullable=False),  # {"billing_meters": "read", …}
    sa.Column("created", Whole64, nullable=False),
    sa.Column("expires_at", Whole64),  # null: never
    sa.Column("revoked_at", Whole64),
    sa.Column("last_used_at", Whole64),  # as it was known a minute ago
    sa.CheckConstraint("kind IN ('secret', 'restricted')", name="kind"),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("password_hash", sa.Text, nullable=False),  # Argon2id, with its salt and costs
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("accounts", sa.JSON(none_as_null=True)),  # null: every account
    sa.Column("livemode", sa.Boolean(create_constraint=True, name="livemode")),  # null: both modes
    sa.Column("created", Whole64, nullable=False),
    sa.Column("password_set_at", Whole64, nullable=False),
    sa.CheckConstraint("role IN ('admin', 'viewer')", name="role"),
)

# Who is signed in to the dashboard, and by which browser (`ledger.dashboard_sessions`).
dashboard_sessions = sa.Table(
    "dashboard_sessions",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),  # SHA-256 of the token
    # Null: a link has let it in.
    sa.Column("user_name", sa.Text, sa.ForeignKey("users.name", ondelete="CASCADE")),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("browser", sa.Text, nullable=False),
    sa.Column("created", Whole64, nullable=False),
    sa.Column("last_seen", Whole64, nullable=False),
    sa.Column("expires_at", Whole64, nullable=False),
)
sa.Index("ix_dashboard_sessions_user_name", dashboard_sessions.c.user_name)
sa.Index("ix_dashboard_sessions_expires_at", dashboard_sessions.c.expires_at)

# Who changed what, appended in the transaction of the change (`ledger.audit`).
audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("created", Whole64, nullable=False),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id")),  # null: the whole installation
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("actor_type", sa.Text, nullable=False),
    sa.Column("actor_id", sa.Text),
    sa.Column("actor_name", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("changes", sa.JSON, nullable=False),  # {"status": {"old": …, "new": …}, …}
    sa.CheckConstraint(
        "actor_type IN ('anonymous', 'api_key', 'operator', 'system', 'user')", name="actor_type"
    ),
    # A number is never given again, so the order is that of the changes.
    sqlite_autoincrement=True,
)
sa.Index("ix_audit_log_scope_seq", audit_log.c.scope, audit_log.c.seq)
sa.Index("ix_audit_log_created", audit_log.c.created)

# What the last start was set up with (`ledger.known_settings`).
known_settings = sa.Table(
    "known_settings",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),  # of a secret one: a digest
)

# One row, made with the table: what signs the tokens of sessions.
signing_secret = sa.Table(
    "signing_secret",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

# One row, from the first start on: the version of the rules of time zones that the last one used.
zone_rules = sa.Table(
    "zone_rules",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

# One row: what this ledger and its usage store are known by (`ledger.identity`).
store_identity = sa.Table(
    "store_identity",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("awaited", sa.Text),
    sa.Column("missing_events", Whole64, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

# One row, made with the table: who processes this ledger (`ledger.owner`). Epoch 0: nobody so far.
owner = sa.Table(
    "owner",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("epoch", Whole64, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", Whole64, nullable=False),
    sa.Column("data_dir", sa.Text, nullable=False),
    sa.Column("since", Whole64, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

# One row, from the first look at the clock on: see `ledger.timekeeping`.
timekeeping = sa.Table(
    "timekeeping",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("reached", Whole64, nullable=False),
    sa.Column("furthest", Whole64, nullable=False),
    sa.Column("doubted_ms", Whole64, nullable=False),
    sa.Column("looked_at", Whole64, nullable=False, default=0),  # by the database's clock
    sa.CheckConstraint("id = 1", name="one_row"),
    sa.CheckConstraint("furthest >= reached", name="furthest"),
)

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("email", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of what the sender told us
    sa.Column("created", Whole64, nullable=False),
    sa.Column("deleted_at", Whole64),
    sa.Column("test_clock", sa.Text),
    sa.Column("balance", Whole64, nullable=False, server_default="0"),  # negative: a credit
    sa.Column("currency", sa.Text),  # null until it is billed
    sa.Column("invoice_prefix", sa.Text),
    sa.Column("next_invoice_sequence", Whole64, nullable=False, server_default="1"),
    sa.Column("folded_description", sa.Text),  # as they are searched, see `wire.search`
    sa.Column("folded_email", sa.Text),
    sa.Column("folded_name", sa.Text),
    sa.Column("folded_phone", sa.Text),
    sa.Column("folded_metadata", sa.JSON(none_as_null=True)),
)
_alive = customers.c.deleted_at.is_(None)
# Lists go through it in order and read the rows of those alone that were created then.
sa.Index(
    "ix_customers_scope_seq_created",
    customers.c.scope,
    customers.c.seq,
    customers.c.created,
    sqlite_where=_alive,
    postgresql_where=_alive,
)
sa.Index("ix_customers_scope_email", customers.c.scope, customers.c.email)
sa.Index("ix_customers_test_clock", customers.c.test_clock)
sa.Index("ix_customers_scope_folded_email", customers.c.scope, customers.c.folded_email)
# What PostgreSQL finds customers by; SQLite has a table for it (`ledger.customer_terms`).
terms_of_customer: sa.ColumnElement[Any] = sa.func.customer_terms(
    customers.c.deleted_at,
    customers.c.scope,
    customers.c.id,
    customers.c.folded_description,
    customers.c.folded_email,
    customers.c.folded_name,
    customers.c.folded_phone,
    customers.c.folded_metadata,
)
sa.Index("ix_customers_terms", terms_of_customer, postgresql_using="gin").ddl_if(
    dialect="postgresql"
)
_deleted = customers.c.deleted_at.is_not(None)
sa.Index(
    "ix_customers_deleted_at",
    customers.c.deleted_at,
    sqlite_where=_deleted,
    postgresql_where=_deleted,
)

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

# Clocks that customers live by instead of the machine's (`ledger.test_clocks`).
test_clocks = sa.Table(
    "test_clocks",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("frozen_time", Whole64, nullable=False),
    sa.Column("target", Whole64),  # where it goes to; null while it stands
    sa.Column("created", Whole64, nullable=False),
)
sa.Index("ix_test_clocks_scope_seq", test_clocks.c.scope, test_clocks.c.seq)

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("test_clock", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("collection", sa.Text, nullable=False),
    sa.Column("due", Whole64),  # when something happens to it of itself; null: never
    sa.Column("revision", Whole64, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.subscriptions`)
    sa.Column("created", Whole64, nullable=False),
)
sa.Index("ix_subscriptions_scope_seq", subscriptions.c.scope, subscriptions.c.seq)
sa.Index("ix_subscriptions_customer_seq", subscriptions.c.customer, subscriptions.c.seq)
sa.Index("ix_subscriptions_test_clock_due", subscriptions.c.test_clock, subscriptions.c.due)

subscription_items = sa.Table(
    "subscription_items",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("subscription", sa.Text, sa.ForeignKey("subscriptions.id"), nullable=False),
    sa.Column("price", sa.Text, sa.ForeignKey("prices.id"), nullable=False),
    sa.Column("quantity", Whole64),  # null: metered
    sa.Column("period_start", Whole64, nullable=False),
    sa.Column("period_end", Whole64, nullable=False),
    sa.Column("since", Whole64, nullable=False),  # from when on its usage is not billed yet
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("created", Whole64, nullable=False),
)
sa.Index(
    "ix_subscription_items_subscription_seq",
    subscription_items.c.subscription,
    subscription_items.c.seq,
)
sa.Index("ix_subscription_items_price", subscription_items.c.price)

invoices = sa.Table(
    "invoices",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("subscription", sa.Text, sa.ForeignKey("subscriptions.id")),
    sa.Column("test_clock", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("collection", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("number", sa.Text),
    sa.Column("due", Whole64),  # when something happens to it of itself; null: never
    sa.Column("due_date", Whole64),
    sa.Column("total", Whole64, nullable=False),
    sa.Column("finalized_at", Whole64),
    sa.Column("revision", Whole64, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.invoices`)
    sa.Column("created", Whole64, nullable=False),
    sa.UniqueConstraint("customer", "number"),
)
sa.Index("ix_invoices_scope_seq", invoices.c.scope, invoices.c.seq)
sa.Index("ix_invoices_scope_finalized_at", invoices.c.scope, invoices.c.finalized_at)
sa.Index("ix_invoices_customer_seq", invoices.c.customer, invoices.c.seq)
sa.Index("ix_invoices_subscription_seq", invoices.c.subscription, invoices.c.seq)
sa.Index("ix_invoices_test_clock_due", invoices.c.test_clock, invoices.c.due)

invoice_lines = sa.Table(
    "invoice_lines",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("invoice", sa.Text, sa.ForeignKey("invoices.id"), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),  # among the lines of the invoice
    sa.Column("segment", sa.Integer),  # null: usage has no part in it
    sa.Column("amount", Whole64, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.invoice_lines`)
)
sa.Index("ix_invoice_lines_invoice_place", invoice_lines.c.invoice, invoice_lines.c.place)

# The usage that an invoice bills, and how it was counted (`billing.invoice.Segment`).
invoice_segments = sa.Table(
    "invoice_segments",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("invoice", sa.Text, sa.ForeignKey("invoices.id"), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),  # among the segments of the invoice
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("meter", sa.Text, sa.ForeignKey("meters.id"), nullable=False),
    sa.Column("price", sa.Text, sa.ForeignKey("prices.id"), nullable=False),
    sa.Column("subscription_item", sa.Text),
    sa.Column("invoice_item", sa.Text),
    sa.Column("usage_start", Whole64, nullable=False),
    sa.Column("usage_end", Whole64, nullable=False),
    sa.Column("period_start", Whole64, nullable=False),
    sa.Column("period_end", Whole64, nullable=False),
    sa.Column("free", sa.Boolean(create_constraint=True, name="free"), nullable=False),
    sa.Column("late", sa.Text),  # what becomes of a change since; null: billed for the first time
    sa.Column("billed_before", Whole64, nullable=False),
    sa.Column("usage", sa.Text, nullable=False),  # an exact decimal
    sa.Column("events", Whole64, nullable=False),
    sa.Column("amount", Whole64, nullable=False),
    sa.Column("counted_at", Whole64),
    sa.UniqueConstraint("invoice", "place"),
)
sa.Index(
    "ix_invoice_segments_customer_meter",
    invoice_segments.c.customer,
    invoice_segments.c.meter,
    invoice_segments.c.usage_start,
)
sa.Index(
    "ix_invoice_segments_scope_usage_end", invoice_segments.c.scope, invoice_segments.c.usage_end
)

invoice_items = sa.Table(
    "invoice_items",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("subscription", sa.Text, sa.ForeignKey("subscriptions.id")),
    sa.Column("invoice", sa.Text, sa.ForeignKey("invoices.id")),  # null: pending
    sa.Column("test_clock", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.invoice_items`)
    sa.Column("created", Whole64, nullable=False),
)
sa.Index("ix_invoice_items_scope_seq", invoice_items.c.scope, invoice_items.c.seq)
sa.Index("ix_invoice_items_customer_invoice", invoice_items.c.customer, invoice_items.c.invoice)
sa.Index("ix_invoice_items_invoice", invoice_items.c.invoice)

# One row. Locking it orders the writers of SQLite, so that positions become visible in order.
journal_head = sa.Table(
    "journal_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("next_position", Whole64, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

# What gives out positions on PostgreSQL: a commit gets one, and those up to the next.
journal_positions = sa.Sequence(
    "journal_positions", start=1, increment=JOURNAL_COMMIT_POSITIONS, metadata=metadata
)

# One row, made with the table and never renewed: what hides positions in the ids of events.
event_id_key = sa.Table(
    "event_id_key",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("position", Whole64, primary_key=True, autoincrement=False),  # of its first event
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("events >= 0", name="events"),
    sa.CheckConstraint("kind IN ('adjustments', 'events', 'scattered')", name="kind"),
)
# SQLite has one partition.
sa.Index("ix_journal_partition_position", journal.c.partition, journal.c.position).ddl_if(
    dialect="postgresql"
)

# The parts of the journal, each processed by one owner at a time (`ledger.partitions`).
partitions = sa.Table(
    "partitions",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("batch", Whole64, nullable=False),  # the number of the newest that was committed
    sa.Column("as_of", Whole64, nullable=False),  # all that was committed until then is stored
    sa.Column("backlog_events", Whole64, nullable=False),
    sa.Column("rest", Whole64, nullable=False, default=0),  # the epoch in which it stands still
)

# Who does what alone, and until when by the database's clock (`ledger.leases`).
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),  # the id of a node, '' for nobody
    sa.Column("epoch", Whole64, nullable=False),  # grows with each change of the owner
    sa.Column("until", Whole64, nullable=False),
)

# The processes that share this ledger (`ledger.nodes`).
nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", Whole64, nullable=False),
    sa.Column("since", Whole64, nullable=False),
    sa.Column("until", Whole64, nullable=False),
    sa.Column("published_at", Whole64, nullable=False),
    sa.Column("oldest_under_way", Whole64, nullable=False),
    sa.CheckConstraint("role IN ('all', 'api', 'worker')", name="role"),
)

# The newest verification that one of several processes runs (`ledger.verification`).
verification = sa.Table(
    "verification",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("node", sa.Text, nullable=False),  # that runs it, by a name of its own
    sa.Column("until", Whole64, nullable=False),  # when it has told more, or has ended
    sa.Column("state", sa.JSON, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

# Identifiers that single events have taken of late, where several processes take events.
recent_claims = sa.Table(
    "recent_claims",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("created", Whole64, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("ix_recent_claims_created", recent_claims.c.created)

adjustments = sa.Table(
    "adjustments",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("identifier", sa.Text, nullable=False),
    sa.Column("event_name", sa.Text, nullable=False),
    sa.Column("position", Whole64, nullable=False, unique=True),  # of the event it cancels
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("created", Whole64, nullable=False),
    sa.CheckConstraint("status IN ('complete', 'pending')", name="status"),
)

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

# Judged and not yet known to be in the usage store: the very block that is, or will be, inserted.
blocks = sa.Table(
    "blocks",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("token", sa.Text, nullable=False, unique=True),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # an Arrow IPC stream of one batch
    sa.CheckConstraint(
        "destination IN"
        " ('duplicate_events', 'events', 'identifiers', 'rejected_events', 'usage_slots')",
        name="destination",
    ),
)

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),  # '' unless the outcome is 'rejected'
    # Each process adds to a line of its own, lest their commits wait for each other.
    sa.Column("stripe", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("events", Whole64, nullable=False),
    sa.CheckConstraint(
        "outcome IN ('acknowledged', 'accepted', 'duplicate', 'rejected')", name="outcome"
    ),
    sa.CheckConstraint("(outcome = 'rejected') = (code <> '')", name="code"),
)

# The same counts by when the events were received, for `ACTIVITY_DAYS`.
activity = sa.Table(
    "activity",
    metadata,
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), primary_key=True),
    sa.Column("window_start", Whole64, primary_key=True),
    sa.Column("meter", sa.Text, primary_key=True),  # '' where no meter was found
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),  # '' unless the outcome is 'rejected'
    sa.Column("events", Whole64, nullable=False),
    sa.Column("last_received_at", Whole64, nullable=False),
    sa.CheckConstraint("outcome IN ('accepted', 'duplicate', 'rejected')", name="outcome"),
    sa.CheckConstraint("(outcome = 'rejected') = (code <> '')", name="code"),
    sqlite_with_rowid=False,
)

# What happened, as its listeners are told: a snapshot event of API v1 or a thin event of API v2.
notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("created", Whole64, nullable=False),
    sa.Column("object_id", sa.Text),
    sa.Column("object_type", sa.Text),
    sa.Column("object_url", sa.Text),
    sa.Column("body", sa.JSON(none_as_null=True)),
    sa.Column("request_id", sa.Text),  # the request that caused it, and its key
    sa.Column("idempotency_key", sa.Text),
    sa.Column("snapshot_event", sa.Text),  # of a thin twin: the snapshot event of the same cause
    sa.CheckConstraint("payload IN ('snapshot', 'thin')", name="payload"),
    sa.CheckConstraint("payload = 'thin' OR body IS NOT NULL", name="body"),
    # A number is never given again, so that who has read up to one misses none after it.
    sqlite_autoincrement=True,
)
# Lists go through it in order and read the rows of those alone that they want.
sa.Index(
    "ix_notifications_scope_payload_seq_type_created",
    notifications.c.scope,
    notifications.c.payload,
    notifications.c.seq,
    notifications.c.type,
    notifications.c.created,
)
sa.Index("ix_notifications_scope_object_id", notifications.c.scope, notifications.c.object_id)
sa.Index("ix_notifications_created", notifications.c.created)

# Rejected events that no error report tells of yet.
rejections = sa.Table(
    "rejections",
    metadata,
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), primary_key=True),
    sa.Column("meter", sa.Text, primary_key=True),  # '' where no meter was found
    sa.Column("window_start", Whole64, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("events", Whole64, nullable=False),
    sa.Column("samples", sa.JSON, nullable=False),  # [{"identifier": …, "message": …}, …]
    sa.CheckConstraint("events > 0", name="events"),
)

# Where notifications go: the webhook endpoints of API v1 and the event destinations of API v2.
destinations = sa.Table(
    "destinations",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("local", sa.Boolean(create_constraint=True, name="local"), nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("enabled_events", sa.JSON, nullable=False),
    sa.Column("events_from", sa.JSON, nullable=False),
    sa.Column("api_version", sa.Text),  # of snapshot events; null: the account's default
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("enabled", sa.Boolean(create_constraint=True, name="enabled"), nullable=False),
    sa.Column("failing_since", Whole64),  # null: the last attempt arrived, or there was none
    sa.Column("secrets", sa.JSON, nullable=False),  # [[secret, expires_at], …]
    sa.Column("created", Whole64, nullable=False),
    sa.Column("updated", Whole64, nullable=False),
    sa.Column("deleted_at", Whole64),
    sa.CheckConstraint("payload IN ('snapshot', 'thin')", name="payload"),
)
sa.Index("ix_destinations_scope_seq", destinations.c.scope, destinations.c.seq)

# What a destination is owed of a notification. A row that is pending is the debt itself.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column(
        "notification",
        sa.Text,
        sa.ForeignKey("notifications.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("destination", sa.Text, sa.ForeignKey("destinations.id"), nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", Whole64),
    sa.Column("created", Whole64, nullable=False),
    sa.UniqueConstraint("notification", "destination"),
    sa.CheckConstraint("status IN ('cancelled', 'delivered', 'failed', 'pending')", name="status"),
    sa.CheckConstraint(
        "(status = 'pending') = (next_attempt_at IS NOT NULL)", name="next_attempt_at"
    ),
)
sa.Index("ix_deliveries_scope_seq", deliveries.c.scope, deliveries.c.seq)
sa.Index(
    "ix_deliveries_scope_destination_seq",
    deliveries.c.scope,
    deliveries.c.destination,
    deliveries.c.seq,
)
sa.Index(
    "ix_deliveries_pending",
    deliveries.c.destination,
    deliveries.c.next_attempt_at,
    sqlite_where=deliveries.c.next_attempt_at.is_not(None),
    postgresql_where=deliveries.c.next_attempt_at.is_not(None),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column(
        "delivery", sa.Text, sa.ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("at", Whole64, nullable=False),
    sa.Column("status", sa.Integer),  # of the answer; null when there was none
    sa.Column("duration_ms", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("response", sa.Text, nullable=False),  # the first bytes of the answer
)
sa.Index("ix_attempts_delivery", attempts.c.delivery)

# Sessions of Stripe CLIs that listen, or did until a moment ago.
listeners = sa.Table(
    "listeners",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("key", sa.Text, sa.ForeignKey("api_keys.id")),  # null: the operator's
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("filters", sa.JSON, nullable=False),
    sa.Column("since", Whole64, nullable=False),  # notifications up to this number are heard
    sa.Column("server", sa.Text, nullable=False),  # that serves it, by a name of its own
    sa.Column("until", Whole64, nullable=False),  # when it is over if no server says otherwise
    sa.Column("again", sa.JSON, nullable=False),  # to tell: [[scope, notification, account], …]
)

# What is to be forgotten of a customer, and how far that is (`ledger.erasures`).
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("payload_keys", sa.JSON, nullable=False),
    sa.Column("at_once", sa.Boolean(create_constraint=True, name="at_once"), nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("due_at", Whole64, nullable=False),  # when to go on
    sa.Column("events", Whole64, nullable=False),  # that have lost something
    sa.Column("events_erased_at", Whole64),
    sa.Column("rewritten", sa.Boolean(create_constraint=True, name="rewritten"), nullable=False),
    sa.Column("created", Whole64, nullable=False),
    sa.CheckConstraint("step IN ('complete', 'customer', 'events', 'files', 'slots')", name="step"),
)
_unfinished = erasures.c.step != "complete"
sa.Index(
    "ix_erasures_due_at",
    erasures.c.due_at,
    sqlite_where=_unfinished,
    postgresql_where=_unfinished,
)
sa.Index("ix_erasures_created", erasures.c.created)

# Rejected events that are sent again, chunk by chunk.
resends = sa.Table(
    "resends",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("plan", sa.JSON, nullable=False),  # which events, and what is replaced in them
    sa.Column("dry_run", sa.Boolean(create_constraint=True, name="dry_run"), nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("next_position", Whole64, nullable=False),  # what lies before it is done
    sa.Column("end_position", Whole64, nullable=False),  # what lies behind came later
    sa.Column("sent_at", Whole64),  # of the chunk that is on its way
    sa.Column("matched", Whole64),  # null: not counted yet
    sa.Column("accepted", Whole64, nullable=False),
    sa.Column("duplicate", Whole64, nullable=False),
    sa.Column("codes", sa.JSON, nullable=False),  # of rejections: {"no_meter": 3}
    sa.Column("created", Whole64, nullable=False),
    sa.CheckConstraint("status IN ('complete', 'running')", name="status"),
)
sa.Index("ix_resends_created", resends.c.created)

idempotency_records = sa.Table(
    "idempotency_records",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("scope", sa.Integer, nullable=False),
    sa.Column("api", sa.Text, nullable=False),  # a key names a request within one API
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),  # of method, path and parameters
    sa.Column("request", sa.Text, nullable=False),  # the id of the request that was executed
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", Whole64, nullable=False),
    sa.Column("customer", sa.Text),  # that the answer shows
    sa.UniqueConstraint("scope", "api", "key"),
    sa.CheckConstraint("api IN ('v1', 'v2')", name="api"),
)
sa.Index("ix_idempotency_records_expires_at", idempotency_records.c.expires_at)
_shows_customer = idempotency_records.c.customer.is_not(None)
sa.Index(
    "ix_idempotency_records_customer",
    idempotency_records.c.customer,
    sqlite_where=_shows_customer,
    postgresql_where=_shows_customer,
)
