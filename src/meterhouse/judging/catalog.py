"""The catalog as judging needs it, read for some events."""

from collections.abc import Callable, Iterable, Mapping

import sqlalchemy as sa

from meterhouse.ledger import customers, meters, test_clocks
from meterhouse.metering.columns import Events
from meterhouse.metering.model import Meter
from meterhouse.metering.part import Kind
from meterhouse.metering.validation import Catalog

Customer = tuple[int, str]  # scope, id
Known = Callable[[sa.Connection, set[Customer]], Mapping[Customer, int | None]]


class CatalogReader:
    """Reads what judging needs, for some events after others, in one view of the ledger.

    `meters` are those that were read so far, by id.
    """

    def __init__(self, connection: sa.Connection, known: Known = customers.known) -> None:
        """Read by `connection`; `known` tells of customers when each of the known was deleted."""
        self._connection = connection
        self._known = known
        self._names: set[tuple[int, str]] = set()
        self.meters: dict[str, Meter] = {}
        self._active: dict[tuple[int, str], Meter] = {}
        self._archived: dict[tuple[int, str], Meter] = {}
        self._scopes: dict[int, bool] = {}  # whether each has a test clock

    def read(self, events: Events) -> Catalog:
        """Return what judging these events needs; it may hold more."""
        self._read_meters(events.kinds.values)
        keys = {meter.customer_key for meter in self.meters.values()}
        wanted = {one for key in keys for one in events.named_by(key)}
        known = self._known(self._connection, wanted)
        return Catalog(self.meters, self._active, self._archived, known, self._frozen(wanted))

    def _frozen(self, wanted: set[Customer]) -> Mapping[Customer, int]:
        """Return what time it is for those who live by a test clock; few scopes have any."""
        new = {scope for scope, _ in wanted} - self._scopes.keys()
        if new:
            clocked = test_clocks.scopes_with_clocks(self._connection, new)
            self._scopes |= {scope: scope in clocked for scope in new}
        among = {one for one in wanted if self._scopes[one[0]]}
        return test_clocks.frozen_times(self._connection, among) if among else {}

    def _read_meters(self, kinds: Iterable[Kind]) -> None:
        checked = {kind.meter for kind in kinds if kind.meter} - self.meters.keys()
        if checked:
            self.meters |= meters.by_ids(self._connection, checked)
        names = {(kind.scope, kind.event_name) for kind in kinds if not kind.meter} - self._names
        if names:
            self._names |= names
            active = meters.active_by_names(self._connection, names)
            self.meters |= {meter.id: meter for meter in active.values()}
            self._active |= active
            self._archived |= meters.archived_by_names(self._connection, names)
