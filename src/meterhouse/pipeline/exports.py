"""Exports: answers to overviews, written to files before they are sent.

An answer may have millions of rows, and whoever reads it may be slow. So it goes to a file of its
own first; then the usage store is free for others, and memory holds a piece at a time. A file has
no name any more when it is handed out: it is gone once it is closed, or the server ends.
"""

import asyncio
import secrets
import shutil
from pathlib import Path
from typing import IO, Any

from meterhouse import limits
from meterhouse.metering.overview import Overview
from meterhouse.stores import Stores
from meterhouse.usage.export import Format, export


class Exports:
    """Writes `USAGE_EXPORTS_MAX` answers at a time; others wait."""

    def __init__(self, stores: Stores, folder: Path) -> None:
        self._stores = stores
        self._folder = folder
        self._turns = asyncio.Semaphore(limits.USAGE_EXPORTS_MAX)

    def start(self) -> None:
        """Delete what a crash left behind."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()

    async def write(self, overview: Overview, format_: Format, about: dict[str, Any]) -> IO[bytes]:
        """Return the answer as a file to read; `about` are the other members of a JSON document.

        Raises `ExportError` when it cannot be written.
        """
        path = self._folder / secrets.token_hex(8)
        try:
            async with self._turns:
                await self._stores.ask_usage("export", export, overview, path, format_, about)
            return path.open("rb")
        finally:
            path.unlink(missing_ok=True)
