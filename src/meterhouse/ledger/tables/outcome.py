"""What became of events: blocks for the usage store, counts, rejections and second tries."""

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata

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
