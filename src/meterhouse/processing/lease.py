"""A lease as its holder sees it: what this process alone does, as long as nobody took it over."""

import sqlalchemy as sa

from meterhouse.ledger import leases


class Lease:
    """A partition or a job that this process has; `epoch` is None once it is known to be lost.

    It is a fence for `Stores.fenced`: writes fail from the moment on that somebody else has it.
    """

    def __init__(self, name: str, epoch: int) -> None:
        self.name = name
        self.epoch: int | None = epoch

    def check(self, connection: sa.Connection) -> None:
        """Make sure that it is ours until the transaction ends, or raise `OvertakenError`."""
        leases.check(connection, self.name, self.epoch)
