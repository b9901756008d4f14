"""How many distinct combinations of dimension values each customer has on each meter.

A combination beyond `DIMENSION_COMBINATIONS_MAX` is refused with the code
`meter_event_dimension_count_too_high`; combinations seen before go on counting. When a meter gets
other dimensions, counting begins anew. The ledger keeps what was seen; a bounded cache saves the
look-ups.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger.dialect import any_of, insert_at_once
from meterhouse.ledger.tables import dimension_combinations
from meterhouse.metering.model import AcceptedEvent, Meter, RejectedEvent
from meterhouse.metering.validation import dimension_digest, reject_combination

Pair = tuple[str, int, str]  # meter, version of its dimensions, customer
Combination = tuple[str, int, str, int]  # the same, and a digest of the values

_COLUMNS = ("meter", "version", "customer", "digest")
_seen = sa.select(*(dimension_combinations.c[name] for name in _COLUMNS)).where(
    any_of(dimension_combinations.c.meter, "meters"),
    any_of(dimension_combinations.c.customer, "customers"),
)


class Combinations:
    """What was seen; one instance belongs to the one judge."""

    def __init__(self) -> None:
        self._seen: dict[Pair, set[int]] = {}
        # Hashes of meter, version, customer and values that are among the seen. Two that share a
        # hash cost no more than that one of them is not counted.
        self.admitted: set[int] = set()
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether there is so much in the cache that it is to be cleared between two batches."""
        return self._size > limits.DIMENSION_CACHE_COMBINATIONS_MAX

    def look_up(
        self,
        connection: sa.Connection,
        accepted: Sequence[AcceptedEvent],
        meters: Mapping[str, Meter],
    ) -> "Admission":
        """Look up what was seen of the meters and customers of these events, to admit them.

        The caller writes what the admission found to be new with the outcomes, or calls `clear`
        when that fails.
        """
        values = {
            meter.id: (meter.dimension_version, _values_of(meter)) for meter in meters.values()
        }
        admitted = self.admitted
        hashes: list[int | None] = []
        pairs: set[Pair] = set()
        for one in accepted:
            version, read = values[one.meter]
            if read is None:
                hashes.append(None)
                continue
            hashed = hash((one.meter, version, one.customer, read(one.event.payload)))
            hashes.append(hashed)
            if hashed not in admitted:
                pairs.add((one.meter, version, one.customer))
        unknown = pairs - self._seen.keys()
        if unknown:
            self._load(connection, unknown)
        return Admission(self, hashes, meters)

    def add(self, combination: Combination) -> bool | None:
        """Note a combination: True if it is new, False if it was seen, None if one too many."""
        meter, version, customer, digest = combination
        seen = self._seen[meter, version, customer]
        if digest in seen:
            return False
        if len(seen) >= limits.DIMENSION_COMBINATIONS_MAX:
            return None
        seen.add(digest)
        self._size += 1
        return True

    @staticmethod
    def write(connection: sa.Connection, new: Sequence[Combination]) -> None:
        """Record combinations that an admission found to be new."""
        insert_at_once(connection, dimension_combinations, _COLUMNS, new)

    def clear(self) -> None:
        """Forget the cache; the ledger tells again what was seen."""
        self._seen.clear()
        self.admitted.clear()
        self._size = 0

    def _load(self, connection: sa.Connection, unknown: set[Pair]) -> None:
        self._seen.update((pair, set()) for pair in unknown)
        names = {
            "meters": list({meter for meter, _, _ in unknown}),
            "customers": list({customer for _, _, customer in unknown}),
        }
        for meter, version, customer, digest in connection.execute(_seen, names):
            if (meter, version, customer) in unknown:
                self._seen[meter, version, customer].add(digest)
                self._size += 1


class Admission:
    """Admits the events of one batch, in the order of their positions; `new` is what to write."""

    def __init__(
        self,
        combinations: Combinations,
        hashes: Sequence[int | None],
        meters: Mapping[str, Meter],
    ) -> None:
        """Admit to `combinations`; `hashes` are those of the events that have dimensions."""
        self._combinations = combinations
        self._hashes = hashes
        self._meters = meters
        self.new: list[Combination] = []

    def refuse(self, index: int, one: AcceptedEvent) -> RejectedEvent | None:
        """Admit an event, by its number in the batch, or reject its combination as one too many."""
        hashed = self._hashes[index]
        if hashed is None or hashed in self._combinations.admitted:
            return None
        meter = self._meters[one.meter]
        digest = dimension_digest(meter, one.event.payload)
        combination = (meter.id, meter.dimension_version, one.customer, digest)
        added = self._combinations.add(combination)
        if added is None:
            return reject_combination(one)
        self._combinations.admitted.add(hashed)
        if added:
            self.new.append(combination)
        return None


def _values_of(meter: Meter) -> Callable[[Mapping[str, str]], Any] | None:
    """Return what reads the values of the meter's dimensions from a payload, None without any."""
    return itemgetter(*meter.dimension_keys) if meter.dimension_keys else None
