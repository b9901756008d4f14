"""What a ledger holds, to see whether anything is kept of what strangers send."""

import sqlite3
from pathlib import Path
from typing import Any

# What a server writes by itself as time passes.
_OWN = {"owner", "timekeeping"}


class Kept:
    """The rows of a ledger, as they are now."""

    def __init__(self, data_dir: Path) -> None:
        url = f"file:{data_dir / 'ledger.db'}?mode=ro"
        self._connection = sqlite3.connect(url, uri=True)
        self._version = self._count()
        self._rows = self._all()

    def unchanged(self) -> bool:
        """Return whether they are the same still; they are read only if anything was written."""
        version, self._version = self._version, self._count()
        return version == self._version or self._all() == self._rows

    def close(self) -> None:
        """Look no more."""
        self._connection.close()

    def _count(self) -> int:
        (version,) = self._connection.execute("pragma data_version").fetchone()
        return int(version)

    def _all(self) -> dict[str, list[tuple[Any, ...]]]:
        tables = self._connection.execute("select name from sqlite_master where type = 'table'")
        names = {name for (name,) in tables} - _OWN
        return {
            name: self._connection.execute(f"select * from {name}").fetchall()  # noqa: S608 - ours
            for name in names
        }
