"""What is acknowledged and not judged yet, and what was answered, lest it is taken twice."""

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata
from meterhouse.limits import JOURNAL_COMMIT_POSITIONS

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
    # The partition under whose number the blocks of its newest batch are kept.
    sa.Column("kept_under", sa.Integer, nullable=False),
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
