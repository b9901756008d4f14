"""The two stores are a pair: they are opened together, or not at all.

What a reader may rely on:

- A usage store takes over the identity of the ledger that first opens it. From then on neither
  opens with another one, nor where one of them is new. A start that is killed between the two is
  finished by the next one.
- Every accepted event and every cancellation is a row of the usage store, or of a block that the
  ledger keeps. So whoever opens both for a server counts, which the engine does without reading,
  and notices which of them is behind. What else is missing only `meterhouse verify` tells.
- An operator who goes on regardless makes a new pair of them, with an identity of its own. The
  ledger notes what is missing, and gives out no position that the usage store knows, and no batch
  a number that slots would take for proof.
- A usage store that `meterhouse move` has not filled to its end opens with nobody.
"""

import logging
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from meterhouse.config import MismatchedStores, shown
from meterhouse.errors import StoreError
from meterhouse.ledger import blocks, identity, journal, partitions
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.identity import Identity
from meterhouse.ledger.locks import Lock, hold
from meterhouse.usage import folder
from meterhouse.usage import identity as theirs
from meterhouse.usage.store import UsageStore

_ADVICE = (
    "Put both stores back from one and the same back-up; or start once with "
    "--mismatched-stores accept, to go on without what is missing."
)
_ROWS = "accepted events and cancellations"

log = logging.getLogger("meterhouse.pair")


def open_usage(ledger: Ledger, url: str) -> UsageStore:
    """Open the usage store of a ledger, for somebody who does not judge, or not alone.

    Raises `StoreError` when it cannot be opened or belongs to another ledger.
    """
    return _open(ledger, url, "refuse", weigh=False)


def open_pair(ledger: Ledger, url: str, mismatched: MismatchedStores) -> UsageStore:
    """Open the usage store of a ledger, for a server.

    Raises `StoreError` when it cannot be opened; and unless `mismatched` stores are to be accepted,
    when it belongs to another ledger or one of the two lacks events that the other one has.
    """
    return _open(ledger, url, mismatched, weigh=True)


def _open(ledger: Ledger, url: str, mismatched: MismatchedStores, *, weigh: bool) -> UsageStore:
    path = folder.path_of(url)
    known = _ours(ledger).awaited is None
    if known and mismatched == "refuse" and path is not None and folder.is_blank(path):
        # It is told before a folder is made there.
        raise StoreError(f"{_gone(ledger, shown(path))} {_ADVICE}")
    with _in_turn(ledger), ExitStack() as opened:
        usage = UsageStore.open(url)
        opened.callback(usage.close)
        if theirs.filled_for(usage) is not None:
            raise StoreError(
                f"The usage store at {usage.place} is being filled by `meterhouse move`, which has "
                "not ended. Give that command again: it goes on."
            )
        problem = _unlike(ledger, usage) or (_behind(ledger, usage) if weigh else None)
        if problem is not None and mismatched == "refuse":
            raise StoreError(f"{problem} {_ADVICE}")
        if problem is not None:
            log.warning("%s Going on without what is missing, as a new pair.", problem)
            _begin_anew(ledger, usage)
        _introduce(ledger, usage)
        opened.pop_all()
    return usage


@contextmanager
def _in_turn(ledger: Ledger) -> Iterator[None]:
    """Let processes that share a ledger go one after the other."""
    if not ledger.shared:
        yield
        return
    with ledger.read() as connection:
        hold(connection, Lock.PAIR)
        yield


def _ours(ledger: Ledger) -> Identity:
    with ledger.read() as connection:
        return identity.read(connection)


def _unlike(ledger: Ledger, usage: UsageStore) -> str | None:
    """Tell why the stores are no pair; None where they are one, or become one by this start."""
    ours, found = _ours(ledger), theirs.read(usage)
    if found == ours.identity:
        return None
    stored = theirs.stored_events(usage)
    if ours.awaited == (found or "") and (found or not stored):
        return None
    if found is None and not stored:
        return _gone(ledger, usage.place)
    if ours.awaited == "":
        return (
            f"The ledger at {ledger.place} is new, but the usage store at {usage.place} belongs to "
            f"another ledger and holds {stored} {_ROWS}."
        )
    return (
        f"The ledger at {ledger.place} and the usage store at {usage.place} do not belong "
        "together: each of them is half of another pair."
    )


def _gone(ledger: Ledger, place: str) -> str:
    with ledger.read() as connection:
        counted = identity.counted_events(connection)
    return (
        f"The usage store at {place} is empty or missing, but the ledger at {ledger.place} counts "
        f"{counted} {_ROWS} in it."
    )


def _behind(ledger: Ledger, usage: UsageStore) -> str | None:
    """Tell which of the stores is behind the other; None where neither is."""
    missing = _missing(ledger, usage)
    if missing > 0:
        return (
            f"The usage store at {usage.place} is behind the ledger at {ledger.place}: it lacks "
            f"{missing} of the {_ROWS} that the ledger counts."
        )
    if missing < 0:
        return (
            f"The ledger at {ledger.place} is behind the usage store at {usage.place}: it knows "
            f"nothing of {-missing} of the {_ROWS} that are stored."
        )
    with ledger.read() as connection:
        given_out = journal.last_position(connection)
    if theirs.seen_position(usage) > given_out:
        return (
            f"The ledger at {ledger.place} is behind the usage store at {usage.place}, which holds "
            "events that it knows nothing of."
        )
    return None


def _missing(ledger: Ledger, usage: UsageStore) -> int:
    """Return how many more rows of events the ledger counts than there are, beside those known."""
    with ledger.read() as connection:
        known = identity.read(connection).missing_events
        counted = identity.counted_events(connection)
        kept = blocks.read(connection, "events")
    kept_rows = sum(one.rows for one in kept if not usage.holds(one.destination, one.body))
    return counted - known - kept_rows - theirs.stored_events(usage)


def _begin_anew(ledger: Ledger, usage: UsageStore) -> None:
    """Give the ledger a new identity, which the usage store shall take over."""
    awaited, last = theirs.read(usage) or "", theirs.last_position(usage)
    batches = theirs.newest_batches(usage)
    missing = _missing(ledger, usage)
    with ledger.write() as connection:
        known = identity.read(connection).missing_events
        identity.save(connection, Identity(secrets.token_hex(16), awaited, known + missing))
        journal.give_out_after(connection, last)
        partitions.number_after(connection, batches)


def _introduce(ledger: Ledger, usage: UsageStore) -> None:
    """Let the usage store take over the ledger's identity, where it has not."""
    ours = _ours(ledger)
    if theirs.read(usage) != ours.identity:
        theirs.take_over(usage, ours.identity)
    if ours.awaited is not None:
        with ledger.write() as connection:
            identity.save(connection, Identity(ours.identity, None, ours.missing_events))
