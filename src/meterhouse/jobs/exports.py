"""Exports: answers to overviews, written to files before they are sent.

An answer may have millions of rows, and whoever reads it may be slow. So it goes to a file of its
own first; then the usage store is free for others, and memory holds a piece at a time. A file has
no name any more when it is handed out: it is gone once it is closed, or the server ends.

A sender has few of them at a time, whatever they wait for, and none takes the last of the disk.
"""

import secrets
import shutil
from collections import Counter
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import IO, Any

from meterhouse import limits
from meterhouse.errors import CrowdedError
from meterhouse.metering.overview import Overview
from meterhouse.share import Share
from meterhouse.stores import Stores
from meterhouse.usage.export import Format, export


class Exports:
    """Writes `USAGE_EXPORTS_MAX` answers at a time; others wait."""

    def __init__(self, stores: Stores, folder: Path) -> None:
        self._stores = stores
        self._folder = folder
        self._turns = Share(
            limits.USAGE_EXPORTS_MAX,
            limits.USAGE_SENDER_EXPORTS_MAX,
            limits.USAGE_SENDER_HELD_EXPORTS_MAX,
        )
        self._held: Counter[int] = Counter()

    def start(self) -> None:
        """Delete what a crash left behind."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()

    async def write(
        self, sender: int, overview: Overview, format_: Format, about: dict[str, Any]
    ) -> IO[bytes]:
        """Return the answer as a file to read; `about` are the other members of a JSON document.

        The `sender` has it until it is closed. Raises `CrowdedError` when there are too many of
        that sender already, and `ExportError` when it cannot be written.
        """
        if self._held[sender] >= limits.USAGE_SENDER_HELD_EXPORTS_MAX:
            raise CrowdedError("Too many answers of one sender have not been read.")
        self._held[sender] += 1
        path = self._folder / secrets.token_hex(8)
        try:
            await self._write(sender, overview, path, format_, about)
            return _Answer(path, lambda: self._let_go(sender))
        except BaseException:
            self._let_go(sender)
            raise
        finally:
            path.unlink(missing_ok=True)

    async def _write(self, sender: int, overview: Overview, path: Path, *how: Any) -> None:
        if not self._turns.take(sender):
            await self._turns.wait(sender)
        try:
            await self._stores.ask_usage("export", export, overview, path, *how)
        finally:
            self._turns.give(sender)

    def _let_go(self, sender: int) -> None:
        self._held[sender] -= 1
        if not self._held[sender]:
            del self._held[sender]


class _Answer(FileIO):
    """A file that tells when it is closed, which it is when nobody has it any more, too."""

    def __init__(self, path: Path, closed: Callable[[], None]) -> None:
        super().__init__(path)
        self._tell = closed

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._tell()
