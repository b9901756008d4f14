"""The steps that bring a ledger's tables up to date, run whenever a ledger is opened.

A step is written out by hand, and is never changed once a release has it.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from meterhouse.errors import StoreError

# Any number will do, as long as nobody else locks it.
ADVISORY_LOCK = 4_639_151_203


def migrate(connection: sa.Connection) -> None:
    """Take the steps that the database behind `connection` has not taken, in its transaction.

    Processes that open one ledger at the same time take turns: SQLite's write transaction holds
    the others back, on PostgreSQL an advisory lock does. Raises `StoreError` when the database
    has taken a step that this program does not know.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
    config = Config()
    # The file's settings interpolate `%`, which a folder may have in its name.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"It was written by a newer Meterhouse: {error}.") from error
