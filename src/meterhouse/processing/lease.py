"""A lease as its holder sees it: what this process alone does, as long as nobody took it over.

What a reader may rely on:

- Its fence (`Stores.fenced`) lets a write through only in the epoch in which it was made.
- The usage store knows no epochs. So whoever is about to insert makes sure that the lease lasts,
  by this machine's clock, from before it was renewed: nobody else has it then. What is on its way
  when the lease is over comes under a token, which the next owner looks for.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import OvertakenError, StoreError
from meterhouse.ledger import leases

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while a machine sleeps


class Epochs(NamedTuple):
    """Leases from when each was taken until it is somebody else's; a fence for `Stores.fenced`."""

    of: Mapping[str, int | None]

    def check(self, connection: sa.Connection) -> None:
        """Make sure that they last until the transaction ends, or raise `OvertakenError`."""
        leases.check(connection, self.of)


class Lease:
    """A partition or a job; `epoch` is None while this process does not have it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch: int | None = None
        self._until = 0.0

    def renew(self, epoch: int, since: float) -> None:
        """Have it in an epoch for `LEASE_SECONDS` from an instant on, which `clock` has told."""
        self.epoch = epoch
        self._until = since + limits.LEASE_SECONDS

    def lose(self) -> None:
        """Know that it is somebody else's."""
        self.epoch = None

    def fence(self) -> "Epochs":
        """Return a fence that lets through what is written in this epoch."""
        return Epochs({self.name: self.epoch})

    def assure(self) -> None:
        """Make sure that nobody else can have it yet; raises a `StoreError` where somebody may."""
        if self.epoch is None:
            raise OvertakenError(f"Another process may have taken over what '{self.name}' names.")
        if clock() >= self._until:
            raise StoreError(f"The lease '{self.name}' could not be renewed in time.")


def clock() -> float:
    """Return an instant of a clock that only goes on, also while the process is stopped."""
    return time.clock_gettime(_CLOCK)
