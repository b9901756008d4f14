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
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger.dialect import any_of, insert_and_return, insert_at_once
from meterhouse.ledger.tables import dimension_combinations
from meterhouse.metering.coded import Numbers, coded
from meterhouse.metering.problem import Problem, reject_combination
from meterhouse.metering.validation import Accepted, dimension_digest, dimension_values

Pair = tuple[str, int, str]  # meter, version of its dimensions, customer
Combination = tuple[str, int, str, int]  # the same, and a digest of the values

_ODD, _HALF = np.uint64(0x9E37_79B9_7F4A_7C15), np.uint64(32)  # what spreads bits in a hash
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


class Admission:
    """Admits the events of one batch, each known by its number; `new` is what to write.

    The caller writes what is new with the outcomes, or clears the `Combinations` when that fails.
    """

    def __init__(self, combinations: Combinations, rows: Accepted) -> None:
        self._combinations = combinations
        self._candidates = _candidates(rows, combinations.admitted)
        self.new: list[Combination] = []

    @property
    def uncertain(self) -> Collection[int]:
        """The numbers of the events that `refuse` must be asked about; others are admitted."""
        return self._candidates.keys()

    def look_up(self, connection: sa.Connection) -> None:
        """Look up what was seen of the meters and customers of these events."""
        pairs = {one.combination[:3] for one in self._candidates.values()}
        self._combinations.look_up(connection, pairs)

    def refuse(self, number: int) -> Problem | None:
        """Admit an event, or say that its combination is one too many.

        It is asked about one event after the other, in the order of their positions.
        """
        candidate = self._candidates.get(number)
        if candidate is None or candidate.hashed in self._combinations.admitted:
            return None
        added = self._combinations.add(candidate.combination)
        if added is None:
            return reject_combination(candidate.combination[2])
        self._combinations.admitted.add(candidate.hashed)
        if added:
            self.new.append(candidate.combination)
        return None


def _candidates(rows: Accepted, admitted: Collection[int]) -> dict[int, _Candidate]:
    """Return those of the events, by their numbers, that are not admitted for certain."""
    meters, customers = rows.meters.values, rows.customers.values
    declared = np.array([bool(meter.dimension_keys) for meter in meters], np.bool_)
    if not declared.any():
        return {}
    places = dimension_values(rows.events, rows.meters)
    hashes = _hashes(rows, places)
    some = [
        number
        for number in np.flatnonzero(declared[rows.meters.numbers]).tolist()
        if hashes[number] not in admitted
    ]
    at = np.array(some, np.int64)
    columns = (
        some,
        rows.meters.numbers[at].tolist(),
        rows.customers.numbers[at].tolist(),
        zip(*(values.take(pa.array(at)).to_pylist() for values in places), strict=True),
    )
    found = {}
    for number, place, customer, values in zip(*columns, strict=True):
        meter = meters[place]
        digest = dimension_digest(values[: len(meter.dimension_keys or ())])
        combination = (meter.id, meter.dimension_version, customers[customer], digest)
        found[number] = _Candidate(hashes[number], combination)
    return found


def _hashes(rows: Accepted, places: Sequence[pa.Array]) -> list[int]:
    """Return a hash of each event's meter, version, customer and values of dimensions."""
    versions = [hash((meter.id, meter.dimension_version)) for meter in rows.meters.values]
    hashes = _spread(rows.meters.numbers, versions)
    for column in (rows.customers, *map(coded, places)):
        hashes = (hashes ^ _spread(column.numbers, [hash(one) for one in column.values])) * _ODD
        hashes ^= hashes >> _HALF
    found: list[int] = hashes.tolist()
    return found


def _spread(numbers: Numbers, hashes: Sequence[int]) -> npt.NDArray[np.uint64]:
    return np.array(hashes, np.int64).view(np.uint64)[numbers]


def _lock_of(pair: Pair) -> int:
    """Return the number of the lock that whoever adds to a pair waits at, in any process."""
    return zlib.crc32(repr(pair).encode()) % limits.DIMENSION_LOCK_KEYS
