"""`meterhouse restore`: a data folder as a back-up has it, in a folder that is empty.

Everything is unpacked and checked beside its place first. The ledger is put in place last: a folder
without one is refused by the next start, whatever interrupts a restore.
"""

import os
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import Annotated

import typer

from meterhouse.cli import archive, books
from meterhouse.cli.options import DataDir
from meterhouse.cli.output import counting, remark, show_bytes, show_time
from meterhouse.config import Config, shown
from meterhouse.errors import StoreError
from meterhouse.folder import lock_folder
from meterhouse.ledger import audit
from meterhouse.ledger.audit import Change
from meterhouse.ledger.engine import open_ledger
from meterhouse.usage import folder

app = typer.Typer(add_completion=False)

_UNPACKED = "restoring"  # in the data folder, so it is on the same disk
_EMPTY = frozenset({"lock", "lost+found", _UNPACKED})  # what an empty folder may hold


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="An archive that `meterhouse backup` made.")],
    data_dir: DataDir = None,
) -> None:
    """Put a back-up into an empty data folder, after all its checksums were checked."""
    config = Config.read({"data_dir": data_dir})
    _check_places(config)
    header = archive.read_header(file)
    made = _missing(config.data_dir)
    try:
        with lock_folder(config.data_dir):
            _restore(file, header, config.data_dir)
    except BaseException:
        rmtree(config.data_dir / _UNPACKED, ignore_errors=True)
        if made is not None:
            rmtree(made)
        raise
    remark(f"Restored to {shown(config.data_dir)} as it was on {show_time(header.created)}. Next:")
    for command in ("verify", "serve"):
        remark(f"  meterhouse {command} --data-dir {shown(config.data_dir)}")


def _check_places(config: Config) -> None:
    """Raise `StoreError` where a server with these settings would not look into the data folder."""
    plain = Config.read({"data_dir": config.data_dir}, {})
    found = (config.database_url, config.clickhouse_url)
    if found != (plain.database_url, plain.clickhouse_url):
        raise StoreError(
            "A back-up is restored to a data folder, but METERHOUSE_DATABASE_URL or "
            "METERHOUSE_CLICKHOUSE_URL says that a store is elsewhere. Unset them."
        )


def _missing(data_dir: Path) -> Path | None:
    """Return the outermost folder that a restore makes; None where the data folder is there."""
    missing = [path for path in (data_dir, *data_dir.parents) if not path.exists()]
    return missing[-1] if missing else None


def _restore(file: Path, header: archive.Header, data_dir: Path) -> None:
    others = sorted({path.name for path in data_dir.iterdir()} - _EMPTY)
    if others:
        raise StoreError(
            f"The folder {shown(data_dir)} is not empty: it holds {others[0]}. Restore to a new "
            "one with --data-dir, and move it where you want it."
        )
    free = disk_usage(data_dir).free
    if free < header.bytes:
        raise StoreError(
            f"The back-up takes {show_bytes(header.bytes)}, but {show_bytes(free)} are free at "
            f"{shown(data_dir)}."
        )
    unpacked = data_dir / _UNPACKED
    rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(mode=0o700)
    try:
        with counting("Unpacking and checking", header.bytes) as told:
            archive.unpack(file, unpacked, told)
        folder.mend(unpacked / "usage")
        _note(unpacked / "ledger.db", header)
        os.sync()
        for name in ("usage", "ledger.db"):
            (unpacked / name).rename(data_dir / name)
        os.sync()
    except OSError as error:
        raise StoreError(
            f"Nothing was restored to {shown(data_dir)}: {error.strerror or error}."
        ) from error
    with suppress(OSError):
        unpacked.rmdir()


def _note(ledger: Path, header: archive.Header) -> None:
    """Write into the audit log of a ledger that it was restored, before it gets its place."""
    url = Config.read({"data_dir": ledger.parent}, {}).database_url
    when = {"restored_to": Change(new=header.created)}
    with open_ledger(url) as opened, opened.write() as connection:
        audit.note(connection, books.operator(), "backup.restored", None, None, when)
    Path(f"{ledger}-lock").unlink(missing_ok=True)
