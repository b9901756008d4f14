"""The steps that bring a ledger's tables up to date, run whenever a ledger is opened.

A step is written out by hand, and is never changed once a release has it.
"""

from pathlib import Path

import sqlalchemy as sa

from meterhouse.errors import StoreError

# Any number will do, as long as nobody else locks it.
ADVISORY_LOCK = 4_639_151_203

_FOLDER = Path(__file__).parent
_VERSION = sa.table("alembic_version", sa.column("version_num"))


def migrate(connection: sa.Connection) -> None:
    """Take the steps that the database behind `connection` has not taken, in its transaction.

    Processes that open one ledger at the same time take turns: SQLite's write transaction holds
    the others back, on PostgreSQL an advisory lock does. Raises `StoreError` when the database
    has taken a step that this program does not know.
    """
    if not _is_newest(connection):
        _upgrade(connection)


def _is_newest(connection: sa.Connection) -> bool:
    """Tell whether the database has taken the last step; each step's file begins with its name."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return False
    newest = max(path.name for path in (_FOLDER / "versions").glob("[0-9]*.py"))
    taken = connection.execute(sa.select(_VERSION.c.version_num)).scalar()
    return taken == newest.partition("_")[0]


def _upgrade(connection: sa.Connection) -> None:
    # Importing alembic takes a tenth of a second, and few starts need it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
    config = Config()
    # The file's settings interpolate `%`, which a folder may have in its name.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(f"It was written by a newer Meterhouse: {error}.") from error
