"""The ledger as the command line opens it: directly, beside a running server or without one."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from meterhouse.cli.output import remark
from meterhouse.clock import SystemClock
from meterhouse.config import Config, shown
from meterhouse.errors import MeterhouseError, StoreError
from meterhouse.ledger.audit import Actor, Origin
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.owner import Owner


@contextmanager
def opened(config: Config, *, make: bool = False, owner: Owner | None = None) -> Iterator[Ledger]:
    """Open the ledger of `config`, as its `owner` if that is told.

    One that does not exist is made only where `make` says so. Raises `StoreError` when it does not
    exist, cannot be opened or has another owner.
    """
    missing = _missing_file(config)
    if missing and not make:
        raise StoreError(
            f"There is no ledger at {shown(missing)}. Start `meterhouse serve` once, or point "
            "--data-dir at the folder of your server."
        )
    if missing:
        remark(f"Making a new ledger at {shown(missing)}.")
    with open_ledger(config.database_url, owner) as ledger:
        yield ledger


def unknown_account(account: str) -> MeterhouseError:
    """Return the error of an account that is named and is not there."""
    return MeterhouseError(
        f"There is no account '{account}'; `meterhouse accounts list` shows them."
    )


def operator() -> Origin:
    """Return what the audit log tells of who uses the command line: their name on this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # as in a container that knows no names
        name = "operator"
    return Origin(Actor("operator", None, name), SystemClock().now())


def _missing_file(config: Config) -> Path | None:
    """Return the file of the ledger if it should be there and is not."""
    url = sa.make_url(config.database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    path = Path(url.database)
    return None if path.exists() else path
