"""A copy of the ledger as it was at one moment, made while it changes.

Only a ledger in a file is copied here; PostgreSQL has tools of its own.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from meterhouse.errors import StoreError
from meterhouse.limits import BACKUP_LEDGER_BYTES

Told = Callable[[int, int], None]  # how much is done, and of how much


class LedgerSnapshot:
    """The ledger of the moment at which this was made; `copy_to` may take its time."""

    def __init__(self, url: sa.URL) -> None:
        """Hold it; raises `StoreError` when the ledger is not a file that can be read."""
        if not url.database or url.get_backend_name() != "sqlite":
            raise StoreError("The ledger is not a file.")
        try:
            self._view = sqlite3.connect(
                url.database, isolation_level=None, check_same_thread=False
            )
            # The view is that of the first statement that reads.
            self._view.execute("BEGIN")
            self._view.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            raise StoreError(f"The ledger cannot be copied: {error}") from error

    def copy_to(self, path: Path, told: Told) -> None:
        """Write the copy, and tell how far it is; the view is let go."""
        try:
            with closing(self._view), closing(sqlite3.connect(path)) as copy:
                copy.execute("PRAGMA synchronous=OFF")  # who reads it does so from memory
                page_bytes: int = self._view.execute("PRAGMA page_size").fetchone()[0]
                self._view.backup(
                    copy,
                    pages=BACKUP_LEDGER_BYTES // page_bytes,
                    progress=lambda _, left, total: told(total - left, total),
                )
        except sqlite3.Error as error:
            raise StoreError(f"The ledger cannot be copied: {error}") from error
