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
        digests: dict[int, bytes] = {}
        pairs: set[Pair] = set()
        for one in accepted:
            digest = dimension_digest(meters[one.meter], one.event.payload)
            if digest is not None:
                digests[one.position] = digest
                pairs.add((one.meter, one.customer))
        if self._size > limits.DIMENSION_CACHE_COMBINATIONS_MAX:
            self.clear()
        unknown = pairs - self._seen.keys()
        if unknown:
            self._load(connection, unknown)
        return Admission(self, digests)

    def add(self, combination: Combination) -> bool | None:
        """Note a combination: True if it is new, False if it was seen, None if one too many."""
        meter, customer, digest = combination
        seen = self._seen[meter, customer]
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
        if new:
            insert_rows(connection, dimension_combinations, ("meter", "customer", "digest"), new)

    def clear(self) -> None:
        """Forget the cache; the ledger tells again what was seen."""
        self._seen.clear()
        self._size = 0

    def _load(self, connection: sa.Connection, unknown: set[Pair]) -> None:
        self._seen.update((pair, set()) for pair in unknown)
        names = {
            "meters": list({meter for meter, _ in unknown}),
            "customers": list({customer for _, customer in unknown}),
        }
        for meter, customer, digest in connection.execute(_seen, names):
            if (meter, customer) in unknown:
                self._seen[meter, customer].add(digest)
                self._size += 1


class Admission:
    """Admits the events of one batch, in the order of their positions; `new` is what to write."""

    def __init__(self, combinations: Combinations, digests: Mapping[int, bytes]) -> None:
        """Admit to `combinations`; `digests` are those of the events that have any, by position."""
        self._combinations = combinations
        self._digests = digests
        self.new: list[Combination] = []

    def refuse(self, one: AcceptedEvent) -> RejectedEvent | None:
        """Admit an event and note its combination, or reject it because that is one too many."""
        digest = self._digests.get(one.position)
        if digest is None:
            return None
        combination = (one.meter, one.customer, digest)
        added = self._combinations.add(combination)
        if added is None:
            return reject_combination(one)
        if added:
            self.new.append(combination)
        return None
