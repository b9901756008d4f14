"""What the installation is known by, and the processes that it has."""

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata

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
    sa.Column("jumped", sa.Boolean(create_constraint=True, name="jumped"), nullable=False),
    # When the last look was: by the database's clock, and by the uptime of a machine.
    sa.Column("looked_at", Whole64, nullable=False),
    sa.Column("boot", sa.Text, nullable=False),
    sa.Column("uptime_ms", Whole64, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
    sa.CheckConstraint("furthest >= reached", name="furthest"),
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
