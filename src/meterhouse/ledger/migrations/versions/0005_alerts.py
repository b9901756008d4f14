"""Alerts, what they have told, and what is to be evaluated."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

Whole64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _alerts()
    _alert_triggers()
    op.create_table(
        "touches",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("batch", sa.Text, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_touches"),
        sa.UniqueConstraint("batch", name="uq_touches_batch"),
    )


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("meter", sa.Text, nullable=False),
        sa.Column("customer", sa.Text),
        sa.Column(
            "plain", sa.Boolean(create_constraint=True, name="ck_alerts_plain"), nullable=False
        ),
        sa.Column("since", Whole64, nullable=False),
        sa.Column("revision", Whole64, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.CheckConstraint("status IN ('active', 'archived', 'inactive')", name="ck_alerts_status"),
        sa.ForeignKeyConstraint(["meter"], ["meters.id"], name="fk_alerts_meter"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_alerts_scope"),
        sa.PrimaryKeyConstraint("seq", name="pk_alerts"),
        sa.UniqueConstraint("id", name="uq_alerts_id"),
        sa.UniqueConstraint("revision", name="uq_alerts_revision"),
    )
    op.create_index("ix_alerts_scope_seq", "alerts", ["scope", "seq"])
    active = sa.text("status = 'active'")
    op.create_index(
        "ix_alerts_active",
        "alerts",
        ["meter", "customer"],
        sqlite_where=active,
        postgresql_where=active,
    )


def _alert_triggers() -> None:
    op.create_table(
        "alert_triggers",
        sa.Column("seq", Whole64, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Integer, nullable=False),
        sa.Column("alert", sa.Text, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("period_start", Whole64, nullable=False),
        sa.Column("period_end", Whole64, nullable=False),
        sa.Column("gte", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("created", Whole64, nullable=False),
        sa.ForeignKeyConstraint(["alert"], ["alerts.id"], name="fk_alert_triggers_alert"),
        sa.ForeignKeyConstraint(["scope"], ["scopes.id"], name="fk_alert_triggers_scope"),
        sa.PrimaryKeyConstraint("seq", name="pk_alert_triggers"),
        sa.UniqueConstraint("id", name="uq_alert_triggers_id"),
        sa.UniqueConstraint(
            "alert",
            "customer",
            "period_start",
            "step",
            name="uq_alert_triggers_alert_customer_period_start_step",
        ),
    )
    op.create_index("ix_alert_triggers_alert_seq", "alert_triggers", ["alert", "seq"])
