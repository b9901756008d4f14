"""How many distinct combinations of dimension values each customer has on each meter.

A combination beyond `DIMENSION_COMBINATIONS_MAX` is refused with the code
`meter_event_dimension_count_too_high`; combinations seen before go on counting. The ledger keeps
what was seen; a bounded cache saves the look-ups.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger.dialect import any_of, insert_rows
from meterhouse.ledger.tables import dimension_combinations
from meterhouse.metering.model import AcceptedEvent, Meter, RejectedEvent
from meterhouse.metering.validation import dimension_digest, reject_combination

Pair = tuple[str, str]  # meter, customer
Combination = tuple[str, str, bytes]  # meter, customer, digest of the values

_seen = sa.select(dimension_combinations).where(
    any_of(dimension_combinations.c.meter, "meters"),
    any_of(dimension_combinations.c.customer, "customers"),
)


class Combinations:
    """What was seen; one instance belongs to the one processor."""

    def __init__(self) -> None:
        self._seen: dict[Pair, set[bytes]] = {}
        self._size = 0

    def check(
        self,
        connection: sa.Connection,
        accepted: Sequence[AcceptedEvent],
        meters: Mapping[str, Meter],
    ) -> tuple[list[AcceptedEvent], list[RejectedEvent], list[Combination]]:
        """Split events into those that may count and those whose combination is one too many.

        Also returns the combinations that are new; the caller writes them with the outcomes, or
        calls `clear` when that fails.
        """
        digests = [dimension_digest(meters[one.meter], one.event.payload) for one in accepted]
        if not any(digests):
            return list(accepted), [], []
        self._load(connection, accepted, digests)
        kept: list[AcceptedEvent] = []
        refused: list[RejectedEvent] = []
        new: list[Combination] = []
        for one, digest in zip(accepted, digests, strict=True):
            if digest is not None:
                seen = self._seen[one.meter, one.customer]
                if digest not in seen:
                    if len(seen) >= limits.DIMENSION_COMBINATIONS_MAX:
                        refused.append(reject_combination(one))
                        continue
                    seen.add(digest)
                    self._size += 1
                    new.append((one.meter, one.customer, digest))
            kept.append(one)
        return kept, refused, new

    @staticmethod
    def write(connection: sa.Connection, new: Sequence[Combination]) -> None:
        """Record combinations that `check` found to be new."""
        if new:
            insert_rows(connection, dimension_combinations, ("meter", "customer", "digest"), new)

    def clear(self) -> None:
        """Forget the cache; the ledger tells again what was seen."""
        self._seen.clear()
        self._size = 0

    def _load(
        self,
        connection: sa.Connection,
        accepted: Sequence[AcceptedEvent],
        digests: Sequence[bytes | None],
    ) -> None:
        """Make sure that what was seen is known of every meter and customer of these events."""
        if self._size > limits.DIMENSION_CACHE_COMBINATIONS_MAX:
            self.clear()
        pairs = {
            (one.meter, one.customer)
            for one, digest in zip(accepted, digests, strict=True)
            if digest is not None
        }
        unknown = pairs - self._seen.keys()
        if not unknown:
            return
        self._seen.update((pair, set()) for pair in unknown)
        names = {
            "meters": list({meter for meter, _ in unknown}),
            "customers": list({customer for _, customer in unknown}),
        }
        for meter, customer, digest in connection.execute(_seen, names):
            if (meter, customer) in unknown:
                self._seen[meter, customer].add(digest)
                self._size += 1
