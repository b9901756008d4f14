"""What a usage store is known by, and how far it is, as a ledger asks when it opens both."""

from meterhouse.usage.store import UsageStore

_FILLING = "filling "  # with what belongs to the identity behind it

_IDENTITY = "SELECT identity FROM store_identity ORDER BY number DESC LIMIT 1"

_TAKE_OVER = """
INSERT INTO store_identity (identity, number)
SELECT {identity:String}, count() + 1 FROM store_identity
"""

# The engine knows these without reading a row.
_EVENTS = "SELECT count() AS events FROM events"

# What came last, in the columns that are read for it in no time however much there is.
_NEWEST_SEEN = """
SELECT max(position) AS position
FROM
(
    SELECT max(position) AS position FROM identifiers
    WHERE day = (SELECT max(day) FROM identifiers)
    UNION ALL
    SELECT max(position) FROM rejected_events
    WHERE received_at > (SELECT max(received_at) FROM rejected_events) - INTERVAL 1 MINUTE
    UNION ALL
    SELECT max(position) FROM duplicate_events
    WHERE received_at > (SELECT max(received_at) FROM duplicate_events) - INTERVAL 1 MINUTE
)
"""

_NEWEST = """
SELECT max(position) AS position
FROM
(
    SELECT max(position) AS position FROM events
    UNION ALL SELECT max(position) FROM rejected_events
    UNION ALL SELECT max(position) FROM duplicate_events
    UNION ALL SELECT max(position) FROM identifiers
)
"""

_NEWEST_BATCHES = "SELECT max(batch) AS first, maxMap(batches) AS others FROM usage_slots"


def read(store: UsageStore) -> str | None:
    """Return the identity, None when the store has none yet."""
    found = store.columns(_IDENTITY, {})["identity"].to_pylist()
    return found[0] if found else None


def take_over(store: UsageStore, identity: str) -> None:
    """Have this identity from now on."""
    store.change(_TAKE_OVER, {"identity": identity}, {"insert_deduplicate": 0})


def begin_filling(store: UsageStore, identity: str) -> None:
    """Belong to nobody until everything has come that belongs to `identity`."""
    take_over(store, _FILLING + identity)


def filled_for(store: UsageStore) -> str | None:
    """Return the identity for which a store is being filled; None where it is not."""
    found = read(store) or ""
    return found.removeprefix(_FILLING) if found.startswith(_FILLING) else None


def stored_events(store: UsageStore) -> int:
    """Return how many rows of events there are: accepted ones and cancellations."""
    [events] = store.columns(_EVENTS, {})["events"].to_pylist()
    return int(events)


def seen_position(store: UsageStore) -> int:
    """Return a position that the store has, about the highest one, in no time; 0 if it is empty."""
    [position] = store.columns(_NEWEST_SEEN, {})["position"].to_pylist()
    return int(position)


def last_position(store: UsageStore) -> int:
    """Return the highest position that the store has; all of them are read."""
    [position] = store.columns(_NEWEST, {})["position"].to_pylist()
    return int(position)


def newest_batches(store: UsageStore) -> dict[int, int]:
    """Return the highest number of a batch that slots tell of, by partition of the journal."""
    [row] = store.columns(_NEWEST_BATCHES, {}).to_pylist()
    return {0: row["first"], **dict(row["others"])}
