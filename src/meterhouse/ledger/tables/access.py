"""Who may do what, and who did: accounts, keys, users."""

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata

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
