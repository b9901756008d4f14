"""The tables of the ledger.

What a reader may rely on:

- Instants are milliseconds since the epoch.
- A *scope* is one account in one mode (test or live): the wall between books. Every row that
  belongs to a customer of ours carries its scope.
- A *position* numbers acknowledged work, in commit order: a reader that has seen position p will
  never see a smaller one appear. A position that was reserved and not needed is left out.
- The migrations from zero give exactly these tables; a test compares them.
"""

import sqlalchemy as sa

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
    sa.Column("revoked_at", Whole64),
    sa.CheckConstraint("kind IN ('secret', 'restricted')", name="kind"),
)

# One row, made with the table: what signs the tokens of sessions.
session_secret = sa.Table(
    "session_secret",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
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
)
sa.Index("ix_customers_scope_seq", customers.c.scope, customers.c.seq)
sa.Index("ix_customers_scope_email", customers.c.scope, customers.c.email)

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

# One row. Locking it orders the writers, so that positions become visible in order.
journal_head = sa.Table(
    "journal_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("next_position", Whole64, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("position", Whole64, primary_key=True, autoincrement=False),  # of its first event
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("events >= 0", name="events"),
    sa.CheckConstraint("kind IN ('adjustments', 'events')", name="kind"),
)

identifiers = sa.Table(
    "identifiers",
    metadata,
    sa.Column("position", Whole64, primary_key=True, autoincrement=False),
    sa.Column("scope", sa.Integer, nullable=False),
    sa.Column("identifier", sa.Text, nullable=False),
    sa.Column("received_at", Whole64, nullable=False),
    sa.UniqueConstraint("scope", "identifier"),
)

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
    sa.Column("customer", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, primary_key=True),
)

# Judged and not yet known to be in the usage store: the very block that is, or will be, inserted.
blocks = sa.Table(
    "blocks",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("token", sa.Text, nullable=False, unique=True),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # an Arrow IPC stream of one batch
    sa.CheckConstraint("destination IN ('events', 'rejected_events')", name="destination"),
)

tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),  # '' unless the outcome is 'rejected'
    sa.Column("events", Whole64, nullable=False),
    sa.CheckConstraint(
        "outcome IN ('acknowledged', 'accepted', 'duplicate', 'rejected')", name="outcome"
    ),
    sa.CheckConstraint("(outcome = 'rejected') = (code <> '')", name="code"),
)

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
    sa.UniqueConstraint("scope", "api", "key"),
    sa.CheckConstraint("api IN ('v1', 'v2')", name="api"),
)
sa.Index("ix_idempotency_records_expires_at", idempotency_records.c.expires_at)
