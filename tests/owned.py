"""A lease that a test has, as the fence of what it lets write."""

from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger import leases


class Owned(NamedTuple):
    """The epoch of a lease: writes fail once it is in another one."""

    name: str
    epoch: int

    def check(self, connection: sa.Connection) -> None:
        leases.check(connection, {self.name: self.epoch})


def take_over(connection: sa.Connection, name: str, owner: str) -> Owned:
    """Take a lease, whoever has it, as if that one had died."""
    connection.exec_driver_sql("UPDATE leases SET until = 0")
    epoch = leases.take(connection, name, owner, 60)
    assert epoch is not None
    return Owned(name, epoch)
