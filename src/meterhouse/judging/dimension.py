"""How many distinct combinations of dimension values each customer has on each meter.

A combination beyond `DIMENSION_COMBINATIONS_MAX` is refused with the code
`meter_event_dimension_count_too_high`; combinations seen before go on counting. When a meter gets
other dimensions, counting begins anew. The ledger keeps what was seen; a bounded cache saves the
look-ups.

Where partitions have several judges, each knows what the others have admitted only from its last
look-up. So there the commit counts once more, and whoever would exceed the maximum judges anew.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger.dialect import any_of, insert_and_return, insert_at_once
from meterhouse.ledger.tables import dimension_combinations
from meterhouse.metering.model import AcceptedEvent, Meter, RejectedEvent
from meterhouse.metering.validation import dimension_digest, reject_combination

Pair = tuple[str, int, str]  # meter, version of its dimensions, customer
Combination = tuple[str, int, str, int]  # the same, and a digest of the values

_COLUMNS = ("meter", "version", "customer", "digest")
_seen = sa.select(*(dimension_combinations.c[name] for name in _COLUMNS[1:])).where(
    dimension_combinations.c.meter == sa.bindparam("meter"),
    any_of(dimension_combinations.c.customer, "customers"),
)


# The keys of advisory locks are pairs of numbers, of which the first tells what the lock is for.
_wait = sa.text(
    "SELECT pg_advisory_xact_lock(hashtext('dimensions'), key)"
    " FROM unnest(CAST(:keys AS int[])) key"
)
_too_many = sa.text(
    "SELECT meter FROM dimension_combinations"
    " JOIN unnest(CAST(:meters AS text[]), CAST(:versions AS int[]), CAST(:customers AS text[]))"
    " AS pair (meter, version, customer) USING (meter, version, customer)"
    " GROUP BY meter, version, customer HAVING count(*) > :maximum"
    " LIMIT 1"
)


class Combinations:
    """What was seen; one instance belongs to one judge."""

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
    def write(connection: sa.Connection, new: Sequence[Combination]) -> bool:
        """Record combinations that an admission found to be new.

        Returns False when, with those that other judges have admitted, they are too many. Who adds
        to the same ones waits until the transaction ends, so it comes last in it.
        """
        if connection.dialect.name == "sqlite":
            insert_at_once(connection, dimension_combinations, _COLUMNS, new)
            return True
        pairs = sorted({combination[:3] for combination in new})
        if not pairs:
            return True
        connection.execute(_wait, {"keys": sorted({_lock_of(pair) for pair in pairs})})
        insert_and_return(connection, dimension_combinations, _COLUMNS, sorted(new))
        meters, versions, customers = map(list, zip(*pairs, strict=True))
        values: dict[str, Any] = {"meters": meters, "versions": versions, "customers": customers}
        values["maximum"] = limits.DIMENSION_COMBINATIONS_MAX
        return connection.execute(_too_many, values).first() is None

    def clear(self) -> None:
        """Forget the cache; the ledger tells again what was seen."""
        self._seen.clear()
        self.admitted.clear()
        self._size = 0

    def look_up(self, connection: sa.Connection, pairs: set[Pair]) -> None:
        """Look up what was seen of these meters and customers."""
        unknown = pairs - self._seen.keys()
        self._seen.update((pair, set()) for pair in unknown)
        customers: defaultdict[str, list[str]] = defaultdict(list)
        for meter, _, customer in unknown:
            customers[meter].append(customer)
        for meter, some in customers.items():
            values = {"meter": meter, "customers": some}
            for version, customer, digest in connection.execute(_seen, values):
                if (meter, version, customer) in unknown:
                    self._seen[meter, version, customer].add(digest)
                    self._size += 1


class _Candidate(NamedTuple):
    """An event whose combination may be new, or one too many."""

    hashed: int
    combination: Combination
    event: AcceptedEvent


class Admission:
    """Admits the events of one batch, each known by its number; `new` is what to write.

    The caller writes what is new with the outcomes, or clears the `Combinations` when that fails.
    """

    def __init__(self, combinations: Combinations) -> None:
        self._combinations = combinations
        self._candidates: dict[int, _Candidate] = {}
        self._pairs: set[Pair] = set()
        self.new: list[Combination] = []

    @property
    def uncertain(self) -> Collection[int]:
        """The numbers of the events that `refuse` must be asked about; others are admitted."""
        return self._candidates.keys()

    def add(
        self, accepted: Sequence[AcceptedEvent], first: int, meters: Mapping[str, Meter]
    ) -> None:
        """Take up events, whose numbers begin at `first`."""
        admitted = self._combinations.admitted
        values = {
            meter.id: (meter.dimension_version, _values_of(meter)) for meter in meters.values()
        }
        for number, one in enumerate(accepted, first):
            version, read = values[one.meter]
            if read is None:
                continue
            hashed = hash((one.meter, version, one.customer, read(one.event.payload)))
            if hashed not in admitted:
                pair = (one.meter, version, one.customer)
                self._pairs.add(pair)
                digest = dimension_digest(meters[one.meter], one.event.payload)
                self._candidates[number] = _Candidate(hashed, (*pair, digest), one)

    def look_up(self, connection: sa.Connection) -> None:
        """Look up what was seen of the meters and customers of these events."""
        self._combinations.look_up(connection, self._pairs)

    def refuse(self, number: int) -> RejectedEvent | None:
        """Admit an event, or reject its combination as one too many.

        It is asked about one event after the other, in the order of their positions.
        """
        candidate = self._candidates.get(number)
        if candidate is None or candidate.hashed in self._combinations.admitted:
            return None
        added = self._combinations.add(candidate.combination)
        if added is None:
            return reject_combination(candidate.event)
        self._combinations.admitted.add(candidate.hashed)
        if added:
            self.new.append(candidate.combination)
        return None


def _lock_of(pair: Pair) -> int:
    """Return the number of the lock that whoever adds to a pair waits at, in any process."""
    return zlib.crc32(repr(pair).encode()) % limits.DIMENSION_LOCK_KEYS


def _values_of(meter: Meter) -> Callable[[Mapping[str, str]], Any] | None:
    """Return what reads the values of the meter's dimensions from a payload, None without any."""
    return itemgetter(*meter.dimension_keys) if meter.dimension_keys else None
