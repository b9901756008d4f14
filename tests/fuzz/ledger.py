"""What a ledger holds, to see whether anything is kept of what strangers send.

That somebody failed to sign in is kept, so many times in an hour, and no word of what they sent.
"""

import sqlite3
from pathlib import Path
from typing import Any

# What a server writes by itself as time passes, and the database about its tables.
_OWN = {"owner", "timekeeping", "sqlite_sequence"}
_FAILED = "dashboard_session.failed"  # of which the audit log takes a bounded number in an hour


class Kept:
    """The rows of a ledger, as they are now."""

    def __init__(self, data_dir: Path) -> None:
        url = f"file:{data_dir / 'ledger.db'}?mode=ro"
        self._connection = sqlite3.connect(url, uri=True)
        self._version = self._count()
        self._rows = self._all()

    def changed(self) -> list[str]:
        """Return which tables differ; they are read only if anything was written."""
        version, self._version = self._version, self._count()
        if version == self._version:
            return []
        return [name for name, rows in self._all().items() if rows != self._rows[name]]

    def failed_sign_ins(self) -> int:
        """Return how many the audit log tells of."""
        asked = "select count(*) from audit_log where action = ?"
        (count,) = self._connection.execute(asked, (_FAILED,)).fetchone()
        return int(count)

    def close(self) -> None:
        """Look no more."""
        self._connection.close()

    def _count(self) -> int:
        (version,) = self._connection.execute("pragma data_version").fetchone()
        return int(version)

    def _all(self) -> dict[str, list[tuple[Any, ...]]]:
        tables = self._connection.execute("select name from sqlite_master where type = 'table'")
        names = {name for (name,) in tables} - _OWN
        rows = {
            name: self._connection.execute(f"select * from {name}").fetchall()  # noqa: S608 - ours
            for name in names
        }
        rows["audit_log"] = [row for row in rows["audit_log"] if _FAILED not in row]
        return rows
