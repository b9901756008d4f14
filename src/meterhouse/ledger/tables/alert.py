"""What is to be told when usage reaches it, what was told, and what has been used since."""

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("meter", sa.Text, sa.ForeignKey("meters.id"), nullable=False),
    sa.Column("customer", sa.Text),  # null: each of them
    # Whether Stripe could have made it.
    sa.Column("plain", sa.Boolean(create_constraint=True, name="plain"), nullable=False),
    sa.Column("since", Whole64, nullable=False),  # a position
    sa.Column("revision", Whole64, nullable=False, unique=True),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.alerts`)
    sa.Column("created", Whole64, nullable=False),
    sa.CheckConstraint("status IN ('active', 'archived', 'inactive')", name="status"),
)
sa.Index("ix_alerts_scope_seq", alerts.c.scope, alerts.c.seq)
_active = alerts.c.status == "active"
sa.Index(
    "ix_alerts_active",
    alerts.c.meter,
    alerts.c.customer,
    sqlite_where=_active,
    postgresql_where=_active,
)

# Each step that a customer has reached, once for each period of the alert.
alert_triggers = sa.Table(
    "alert_triggers",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("alert", sa.Text, sa.ForeignKey("alerts.id"), nullable=False),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("period_start", Whole64, nullable=False),
    sa.Column("period_end", Whole64, nullable=False),
    sa.Column("gte", sa.Text, nullable=False),  # decimals, as is the value
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("created", Whole64, nullable=False),
    sa.UniqueConstraint("alert", "customer", "period_start", "step"),
)
sa.Index("ix_alert_triggers_alert_seq", alert_triggers.c.alert, alert_triggers.c.seq)

# What a batch has used of meters that somebody watches, until it is evaluated (`ledger.touches`).
touches = sa.Table(
    "touches",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("batch", sa.Text, nullable=False, unique=True),  # what its blocks' tokens begin with
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # an Arrow IPC stream of one batch
)
