"""The usage that somebody waits for, remembered from batch to batch.

What a reader may rely on: no event is left out that is acknowledged after its alert was made, or
its subscription has a threshold. Such an event is judged in a view of the ledger that has them.
"""

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import sqlalchemy as sa

from meterhouse.ledger import alerts
from meterhouse.ledger.blocks import Block, batch_of
from meterhouse.ledger.touches import Touches
from meterhouse.ledger.watched_meters import all_watched
from meterhouse.usage import block
from meterhouse.usage.touched import touched


class Watched:
    """Meters with an active alert or a threshold; and whose usage alone they are about."""

    def __init__(self) -> None:
        self._revision = 0
        self._thresholds: frozenset[str] = frozenset()  # meters
        self._alerts: dict[str, tuple[str, str | None]] = {}  # meter, customer
        self._customers: dict[str, pa.Array | None] = {}  # by meter; None: everybody

    def refresh(self, connection: sa.Connection) -> None:
        """Hear what has changed, as far as the view of the ledger tells."""
        newest = alerts.newest_revision(connection)
        thresholds = all_watched(connection)
        if (newest, thresholds) == (self._revision, self._thresholds):
            return
        for alert_id, active, meter, customer in alerts.watching(connection, self._revision):
            self._alerts.pop(alert_id, None)
            if active:
                self._alerts[alert_id] = (meter, customer)
        self._revision, self._thresholds = newest, thresholds
        watching: dict[str, set[str | None]] = {}
        for meter, customer in self._alerts.values():
            watching.setdefault(meter, set()).add(customer)
        for meter in thresholds:
            watching.setdefault(meter, set()).add(None)
        self._customers = {
            meter: None if None in some else pa.array(list(some), pa.string())
            for meter, some in watching.items()
        }

    def touched_by(self, events: pa.RecordBatch, blocks: list[Block]) -> Touches | None:
        """Return what a batch has used; its `events` and cancellations, of which `blocks` are made.

        None where nobody waits for any of it.
        """
        named = events["meter"].dictionary.to_pylist()
        if self._customers.keys().isdisjoint(named) or not events.num_rows:
            return None
        if any(self._customers.get(meter, ()) is not None for meter in named):
            events = events.filter(self._mask(events, named))
        rows = touched(events)
        if not rows.num_rows:
            return None
        return Touches(batch_of(blocks[0].token), rows.num_rows, block.body_of(rows))

    def _mask(self, events: pa.RecordBatch, named: list[str]) -> pa.Array:
        """Tell of each event whether somebody waits for it."""
        mask = pa.repeat(pa.scalar(value=False), events.num_rows)
        for number, meter in enumerate(named):
            if meter not in self._customers:
                continue
            own = pc.equal(events["meter"].indices, number)
            customers = self._customers[meter]
            if customers is not None:
                own = pc.and_(own, pc.is_in(events["customer"], value_set=customers))
            mask = pc.or_(mask, own)
        return mask
