"""What happened, and who is told: events, destinations and listeners."""

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata

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
