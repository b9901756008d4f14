"""The customers that the judge knows, remembered from batch to batch."""

from collections.abc import Mapping

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import customers

Key = tuple[int, str]  # scope, id


class KnownCustomers:
    """Remembers customers until one is deleted; who is unknown is looked up every time."""

    def __init__(self) -> None:
        self._known: dict[Key, int | None] = {}
        self._deletions = 0

    def refresh(self, connection: sa.Connection) -> None:
        """Forget everybody if one was deleted since, as far as the view of the ledger tells."""
        deletions = customers.count_deleted(connection)
        if deletions != self._deletions or len(self._known) > limits.CUSTOMERS_CACHED_MAX:
            self._known.clear()
            self._deletions = deletions

    def look_up(self, connection: sa.Connection, wanted: set[Key]) -> Mapping[Key, int | None]:
        """Return when each of the `wanted` customers was deleted, None for those that exist.

        Customers that nobody knows are left out; others that were asked for before may be there.
        """
        missing = wanted - self._known.keys()
        if missing:
            self._known.update(customers.known(connection, missing))
        return self._known
