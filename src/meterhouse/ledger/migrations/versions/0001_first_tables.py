"""The first tables: accounts, catalog, journal, blocks, tallies."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Whole64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and the one row of those that have one."""
    _accounts()
    _users()
    _dashboard_sessions()
    _audit_log()
    _signing_secret()
    _zone_rules()
    _store_identity()
    _owner()
    _timekeeping()
    _catalog()
    _journal()
    _processes()
    _adjustments()
    _outcomes()
    _notifications()
    _deliveries()
    _listeners()
    _resends()
    _erasures()
    _dimensions()
    _idempotency()


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("created", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_accounts"),
        sa.UniqueConstraint("id", name="uq_accounts_id"),
        sa.ForeignKeyConstraint(["platform"], ["accounts.id"], name="fk_accounts_platform"),
    )
    op.create_table(
        "scopes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column(
            "livemode",
            sa.Boolean(create_constraint=True, name="ck_scopes_livemode"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name="pk_scopes"),
        sa.UniqueConstraint("account", "livemode", name="uq_scopes_account_livemode"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name="fk_scopes_account"),
    )
    op.create_table(
        "api_keys",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("expires_at", Whole64),
        sa.Column("revoked_at", Whole64),
        sa.Column("last_used_at", Whole64),
        sa.PrimaryKeyConstraint("seq", name="pk_api_keys"),
        sa.UniqueConstraint("id", name="uq_api_keys_id"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_api_keys_scope"),
        sa.CheckConstraint("kind IN ('secret', 'restricted')", name="ck_api_keys_kind"),
    )


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("accounts", sa.JSON(none_as_null=True)),
        sa.Column("livemode", sa.Boolean(create_constraint=True, name="ck_users_livemode")),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("password_set_at", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
        sa.CheckConstraint("role IN ('admin', 'viewer')", name="ck_users_role"),
    )


def _dashboard_sessions() -> None:
    op.create_table(
        "dashboard_sessions",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_name", sa.Text()),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("browser", sa.Text(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("last_seen", Whole64, nullable=False),
        sa.Column("expires_at", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_dashboard_sessions"),
        sa.UniqueConstraint("id", name="uq_dashboard_sessions_id"),
        sa.UniqueConstraint("digest", name="uq_dashboard_sessions_digest"),
        sa.ForeignKeyConstraint(
            ["user_name"],
            ["users.name"],
            name="fk_dashboard_sessions_user_name",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_dashboard_sessions_user_name", "dashboard_sessions", ["user_name"])
    op.create_index("ix_dashboard_sessions_expires_at", "dashboard_sessions", ["expires_at"])


def _audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("scope", sa.Integer()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor_type", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text()),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text()),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text()),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_log"),
        sa.UniqueConstraint("id", name="uq_audit_log_id"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_audit_log_scope"),
        sa.CheckConstraint(
            "actor_type IN ('anonymous', 'api_key', 'operator', 'system', 'user')",
            name="ck_audit_log_actor_type",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_log_scope_seq", "audit_log", ["scope", "seq"])
    op.create_index("ix_audit_log_created", "audit_log", ["created"])
    op.create_table(
        "known_settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_known_settings"),
    )


def _signing_secret() -> None:
    table = op.create_table(
        "signing_secret",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_signing_secret"),
        sa.CheckConstraint("id = 1", name="ck_signing_secret_one_row"),
    )
    op.bulk_insert(table, [{"id": 1, "secret": secrets.token_bytes(32)}])


def _zone_rules() -> None:
    op.create_table(
        "zone_rules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_zone_rules"),
        sa.CheckConstraint("id = 1", name="ck_zone_rules_one_row"),
    )


def _store_identity() -> None:
    table = op.create_table(
        "store_identity",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("awaited", sa.Text()),
        sa.Column("missing_events", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_store_identity"),
        sa.CheckConstraint("id = 1", name="ck_store_identity_one_row"),
    )
    row = {"id": 1, "identity": secrets.token_hex(16), "awaited": "", "missing_events": 0}
    op.bulk_insert(table, [row])


def _owner() -> None:
    table = op.create_table(
        "owner",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("epoch", Whole64, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", Whole64, nullable=False),
        sa.Column("data_dir", sa.Text(), nullable=False),
        sa.Column("since", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_owner"),
        sa.CheckConstraint("id = 1", name="ck_owner_one_row"),
    )
    row = {"id": 1, "epoch": 0, "host": "", "pid": 0, "data_dir": "", "since": 0}
    op.bulk_insert(table, [row])


def _timekeeping() -> None:
    op.create_table(
        "timekeeping",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reached", Whole64, nullable=False),
        sa.Column("furthest", Whole64, nullable=False),
        sa.Column("doubted_ms", Whole64, nullable=False),
        sa.Column(
            "jumped",
            sa.Boolean(create_constraint=True, name="ck_timekeeping_jumped"),
            nullable=False,
        ),
        sa.Column("looked_at", Whole64, nullable=False),
        sa.Column("boot", sa.Text(), nullable=False),
        sa.Column("uptime_ms", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_timekeeping"),
        sa.CheckConstraint("id = 1", name="ck_timekeeping_one_row"),
        sa.CheckConstraint("furthest >= reached", name="ck_timekeeping_furthest"),
    )


def _catalog() -> None:
    op.create_table(
        "customers",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("email", sa.Text()),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("deleted_at", Whole64),
        sa.Column("folded_description", sa.Text()),
        sa.Column("folded_email", sa.Text()),
        sa.Column("folded_name", sa.Text()),
        sa.Column("folded_phone", sa.Text()),
        sa.Column("folded_metadata", sa.JSON(none_as_null=True)),
        sa.PrimaryKeyConstraint("seq", name="pk_customers"),
        sa.UniqueConstraint("id", name="uq_customers_id"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_customers_scope"),
    )
    op.create_index(
        "ix_customers_scope_seq_created",
        "customers",
        ["scope", "seq", "created"],
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("ix_customers_scope_email", "customers", ["scope", "email"])
    op.create_index("ix_customers_scope_folded_email", "customers", ["scope", "folded_email"])
    op.create_index(
        "ix_customers_deleted_at",
        "customers",
        ["deleted_at"],
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_table(
        "meters",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("event_name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("formula", sa.Text(), nullable=False),
        sa.Column("event_time_window", sa.Text()),
        sa.Column("customer_key", sa.Text(), nullable=False),
        sa.Column("value_key", sa.Text(), nullable=False),
        sa.Column("dimension_keys", sa.JSON()),
        sa.Column("dimension_version", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("updated", Whole64, nullable=False),
        sa.Column("deactivated_at", Whole64),
        sa.PrimaryKeyConstraint("seq", name="pk_meters"),
        sa.UniqueConstraint("id", name="uq_meters_id"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_meters_scope"),
        sa.CheckConstraint("formula IN ('count', 'last', 'sum')", name="ck_meters_formula"),
        sa.CheckConstraint(
            "event_time_window IN ('day', 'hour')", name="ck_meters_event_time_window"
        ),
        sa.CheckConstraint("status IN ('active', 'inactive')", name="ck_meters_status"),
        sa.CheckConstraint(
            "(status = 'inactive') = (deactivated_at IS NOT NULL)", name="ck_meters_deactivated_at"
        ),
    )
    op.create_index("ix_meters_scope_seq", "meters", ["scope", "seq"])
    op.create_index("ix_meters_scope_event_name", "meters", ["scope", "event_name"])
    op.create_index(
        "uq_meters_active_event_name",
        "meters",
        ["scope", "event_name"],
        unique=True,
        sqlite_where=sa.text("status = 'active'"),
        postgresql_where=sa.text("status = 'active'"),
    )


def _journal() -> None:
    head = op.create_table(
        "journal_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("next_position", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_journal_head"),
        sa.CheckConstraint("id = 1", name="ck_journal_head_one_row"),
    )
    op.bulk_insert(head, [{"id": 1, "next_position": 1}])
    key = op.create_table(
        "event_id_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event_id_key"),
        sa.CheckConstraint("id = 1", name="ck_event_id_key_one_row"),
    )
    op.bulk_insert(key, [{"id": 1, "key": secrets.token_bytes(32)}])
    op.create_table(
        "journal",
        sa.Column("position", Whole64, autoincrement=False, nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_journal"),
        sa.CheckConstraint("events >= 0", name="ck_journal_events"),
        sa.CheckConstraint(
            "kind IN ('adjustments', 'events', 'scattered')", name="ck_journal_kind"
        ),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_journal_partition_position", "journal", ["partition", "position"])
        # To compress a body takes twice as long as all else that a commit asks of PostgreSQL, and
        # it stays for a moment only.
        op.execute("ALTER TABLE journal ALTER COLUMN body SET STORAGE EXTERNAL")
        op.execute(
            "CREATE SEQUENCE journal_positions START 1 INCREMENT 2048 OWNED BY journal.position"
        )


def _processes() -> None:
    partitions = op.create_table(
        "partitions",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("batch", Whole64, nullable=False),
        sa.Column("as_of", Whole64, nullable=False),
        sa.Column("backlog_events", Whole64, nullable=False),
        sa.Column("rest", Whole64, nullable=False),
        sa.Column("kept_under", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_partitions"),
    )
    columns = ("number", "batch", "as_of", "backlog_events", "rest", "kept_under")
    op.bulk_insert(partitions, [dict.fromkeys(columns, 0)])
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("epoch", Whole64, nullable=False),
        sa.Column("until", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", Whole64, nullable=False),
        sa.Column("since", Whole64, nullable=False),
        sa.Column("until", Whole64, nullable=False),
        sa.Column("published_at", Whole64, nullable=False),
        sa.Column("oldest_under_way", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
        sa.CheckConstraint("role IN ('all', 'api', 'worker')", name="ck_nodes_role"),
    )
    op.create_table(
        "verification",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("until", Whole64, nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_verification"),
        sa.CheckConstraint("id = 1", name="ck_verification_one_row"),
    )
    op.create_table(
        "recent_claims",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_recent_claims"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_recent_claims_created", "recent_claims", ["created"])


def _adjustments() -> None:
    op.create_table(
        "adjustments",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("event_name", sa.Text(), nullable=False),
        sa.Column("position", Whole64, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_adjustments"),
        sa.UniqueConstraint("id", name="uq_adjustments_id"),
        sa.UniqueConstraint("position", name="uq_adjustments_position"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_adjustments_scope"),
        sa.CheckConstraint("status IN ('complete', 'pending')", name="ck_adjustments_status"),
    )


def _outcomes() -> None:
    op.create_table(
        "dimension_combinations",
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("digest", Whole64, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint(
            "meter", "version", "customer", "digest", name="pk_dimension_combinations"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blocks",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_blocks"),
        sa.UniqueConstraint("token", name="uq_blocks_token"),
        sa.CheckConstraint(
            "destination IN"
            " ('duplicate_events', 'events', 'identifiers', 'rejected_events', 'usage_slots')",
            name="ck_blocks_destination",
        ),
    )
    op.create_table(
        "tallies",
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("stripe", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("events", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("scope", "outcome", "code", "stripe", name="pk_tallies"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_tallies_scope"),
        sa.CheckConstraint(
            "outcome IN ('acknowledged', 'accepted', 'duplicate', 'rejected')",
            name="ck_tallies_outcome",
        ),
        sa.CheckConstraint("(outcome = 'rejected') = (code <> '')", name="ck_tallies_code"),
    )
    op.create_table(
        "activity",
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("window_start", Whole64, nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("events", Whole64, nullable=False),
        sa.Column("last_received_at", Whole64, nullable=False),
        sa.PrimaryKeyConstraint(
            "scope", "window_start", "meter", "outcome", "code", name="pk_activity"
        ),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_activity_scope"),
        sa.CheckConstraint(
            "outcome IN ('accepted', 'duplicate', 'rejected')", name="ck_activity_outcome"
        ),
        sa.CheckConstraint("(outcome = 'rejected') = (code <> '')", name="ck_activity_code"),
        sqlite_with_rowid=False,
    )


def _notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("object_id", sa.Text()),
        sa.Column("object_type", sa.Text()),
        sa.Column("object_url", sa.Text()),
        sa.Column("body", sa.JSON()),
        sa.Column("request_id", sa.Text()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("snapshot_event", sa.Text()),
        sa.PrimaryKeyConstraint("seq", name="pk_notifications"),
        sa.UniqueConstraint("id", name="uq_notifications_id"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_notifications_scope"),
        sa.CheckConstraint("payload IN ('snapshot', 'thin')", name="ck_notifications_payload"),
        sa.CheckConstraint("payload = 'thin' OR body IS NOT NULL", name="ck_notifications_body"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_notifications_scope_payload_seq_type_created",
        "notifications",
        ["scope", "payload", "seq", "type", "created"],
    )
    op.create_index("ix_notifications_scope_object_id", "notifications", ["scope", "object_id"])
    op.create_index("ix_notifications_created", "notifications", ["created"])
    op.create_table(
        "rejections",
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("window_start", Whole64, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("events", Whole64, nullable=False),
        sa.Column("samples", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint(
            "scope", "meter", "window_start", "code", "partition", name="pk_rejections"
        ),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_rejections_scope"),
        sa.CheckConstraint("events > 0", name="ck_rejections_events"),
    )


def _deliveries() -> None:
    op.create_table(
        "destinations",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column(
            "local",
            sa.Boolean(create_constraint=True, name="ck_destinations_local"),
            nullable=False,
        ),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("enabled_events", sa.JSON(), nullable=False),
        sa.Column("events_from", sa.JSON(), nullable=False),
        sa.Column("api_version", sa.Text()),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column(
            "enabled",
            sa.Boolean(create_constraint=True, name="ck_destinations_enabled"),
            nullable=False,
        ),
        sa.Column("failing_since", Whole64),
        sa.Column("secrets", sa.JSON(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("updated", Whole64, nullable=False),
        sa.Column("deleted_at", Whole64),
        sa.PrimaryKeyConstraint("seq", name="pk_destinations"),
        sa.UniqueConstraint("id", name="uq_destinations_id"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_destinations_scope"),
        sa.CheckConstraint("payload IN ('snapshot', 'thin')", name="ck_destinations_payload"),
    )
    op.create_index("ix_destinations_scope_seq", "destinations", ["scope", "seq"])
    op.create_table(
        "deliveries",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("notification", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", Whole64),
        sa.Column("created", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_deliveries"),
        sa.UniqueConstraint("id", name="uq_deliveries_id"),
        sa.UniqueConstraint(
            "notification", "destination", name="uq_deliveries_notification_destination"
        ),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_deliveries_scope"),
        sa.ForeignKeyConstraint(
            ["notification"],
            ["notifications.id"],
            name="fk_deliveries_notification",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["destination"], ["destinations.id"], name="fk_deliveries_destination"
        ),
        sa.CheckConstraint(
            "status IN ('cancelled', 'delivered', 'failed', 'pending')",
            name="ck_deliveries_status",
        ),
        sa.CheckConstraint(
            "(status = 'pending') = (next_attempt_at IS NOT NULL)",
            name="ck_deliveries_next_attempt_at",
        ),
    )
    op.create_index("ix_deliveries_scope_seq", "deliveries", ["scope", "seq"])
    op.create_index(
        "ix_deliveries_scope_destination_seq", "deliveries", ["scope", "destination", "seq"]
    )
    op.create_index(
        "ix_deliveries_pending",
        "deliveries",
        ["destination", "next_attempt_at"],
        sqlite_where=sa.text("next_attempt_at IS NOT NULL"),
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_table(
        "attempts",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("at", Whole64, nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("response", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_attempts"),
        sa.ForeignKeyConstraint(
            ["delivery"], ["deliveries.id"], name="fk_attempts_delivery", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_attempts_delivery", "attempts", ["delivery"])


def _listeners() -> None:
    op.create_table(
        "listeners",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("features", sa.JSON(), nullable=False),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("since", Whole64, nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("until", Whole64, nullable=False),
        sa.Column("again", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_listeners"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_listeners_scope"),
        sa.ForeignKeyConstraint(["key"], ["api_keys.id"], name="fk_listeners_key"),
    )


def _resends() -> None:
    op.create_table(
        "resends",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column(
            "dry_run",
            sa.Boolean(create_constraint=True, name="ck_resends_dry_run"),
            nullable=False,
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("next_position", Whole64, nullable=False),
        sa.Column("end_position", Whole64, nullable=False),
        sa.Column("sent_at", Whole64),
        sa.Column("matched", Whole64),
        sa.Column("accepted", Whole64, nullable=False),
        sa.Column("duplicate", Whole64, nullable=False),
        sa.Column("codes", sa.JSON(), nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_resends"),
        sa.UniqueConstraint("id", name="uq_resends_id"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_resends_scope"),
        sa.CheckConstraint("status IN ('complete', 'running')", name="ck_resends_status"),
    )
    op.create_index("ix_resends_created", "resends", ["created"])


def _erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("payload_keys", sa.JSON(), nullable=False),
        sa.Column(
            "at_once",
            sa.Boolean(create_constraint=True, name="ck_erasures_at_once"),
            nullable=False,
        ),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("due_at", Whole64, nullable=False),
        sa.Column("events", Whole64, nullable=False),
        sa.Column("events_erased_at", Whole64),
        sa.Column(
            "rewritten",
            sa.Boolean(create_constraint=True, name="ck_erasures_rewritten"),
            nullable=False,
        ),
        sa.Column("created", Whole64, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_erasures"),
        sa.UniqueConstraint("id", name="uq_erasures_id"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_erasures_scope"),
        sa.CheckConstraint(
            "step IN ('complete', 'customer', 'events', 'files', 'slots')", name="ck_erasures_step"
        ),
    )
    op.create_index(
        "ix_erasures_due_at",
        "erasures",
        ["due_at"],
        sqlite_where=sa.text("step != 'complete'"),
        postgresql_where=sa.text("step != 'complete'"),
    )
    op.create_index("ix_erasures_created", "erasures", ["created"])


def _dimensions() -> None:
    op.create_table(
        "dimension_changes",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("keys", sa.JSON()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("events_total", Whole64),
        sa.Column("created", Whole64, nullable=False),
        sa.Column("completed_at", Whole64),
        sa.Column(
            "cleared",
            sa.Boolean(create_constraint=True, name="ck_dimension_changes_cleared"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_dimension_changes"),
        sa.UniqueConstraint("meter", "version", name="uq_dimension_changes_meter_version"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_dimension_changes_scope"),
        sa.ForeignKeyConstraint(["meter"], ["meters.id"], name="fk_dimension_changes_meter"),
        sa.CheckConstraint("status IN ('complete', 'running')", name="ck_dimension_changes_status"),
        sa.CheckConstraint(
            "(status = 'complete') = (completed_at IS NOT NULL)",
            name="ck_dimension_changes_completed_at",
        ),
    )
    op.create_table(
        "rebuilt_months",
        sa.Column("change", Whole64, nullable=False),
        sa.Column("month", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", Whole64, nullable=False),
        sa.Column("events", Whole64, nullable=False),
        sa.Column(
            "begun",
            sa.Boolean(create_constraint=True, name="ck_rebuilt_months_begun"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("change", "month", name="pk_rebuilt_months"),
        sa.ForeignKeyConstraint(
            ["change"], ["dimension_changes.seq"], name="fk_rebuilt_months_change"
        ),
    )


def _idempotency() -> None:
    op.create_table(
        "idempotency_records",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("scope", sa.Integer(), nullable=False),
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", Whole64, nullable=False),
        sa.Column("customer", sa.Text()),
        sa.PrimaryKeyConstraint("seq", name="pk_idempotency_records"),
        sa.UniqueConstraint("scope", "api", "key", name="uq_idempotency_records_scope_api_key"),
        sa.CheckConstraint("api IN ('v1', 'v2')", name="ck_idempotency_records_api"),
    )
    op.create_index("ix_idempotency_records_expires_at", "idempotency_records", ["expires_at"])
    op.create_index(
        "ix_idempotency_records_customer",
        "idempotency_records",
        ["customer"],
        sqlite_where=sa.text("customer IS NOT NULL"),
        postgresql_where=sa.text("customer IS NOT NULL"),
    )
