"""What was read in a transaction and is read there again and again, kept until it ends.

It is for what the transaction itself does not change, or forgets here when it does.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

T = TypeVar("T")

_MEMO = "meterhouse.memo"


def remembered(connection: sa.Connection, key: Hashable, read: Callable[[], T]) -> T:
    """Return what `read` returned for a key in this transaction; it is called the first time."""
    known = _known(connection)
    if key not in known:
        known[key] = read()
    found: T = known[key]
    return found


def remembered_by_ids(
    connection: sa.Connection,
    kind: str,
    ids: Collection[str],
    read: Callable[[Collection[str]], Mapping[str, T]],
) -> dict[str, T]:
    """Return those objects of a kind that have these ids; `read` is asked for those it was not."""
    known: dict[str, T | None] = _known(connection).setdefault(kind, {})
    missing = [id_ for id_ in ids if id_ not in known]
    if missing:
        known |= dict.fromkeys(missing)
        known |= read(missing)
    return {id_: found for id_ in ids if (found := known[id_]) is not None}


def forget(connection: sa.Connection) -> None:
    """Let everything be read anew."""
    connection.info.pop(_MEMO, None)


def _known(connection: sa.Connection) -> dict[Any, Any]:
    """Return what is known in this transaction; the one before knew what may be otherwise now."""
    transaction = connection.get_transaction()
    if transaction is None:  # it begins with the first statement
        return {}
    before = connection.info.get(_MEMO)
    if before is None or before[0] is not transaction:
        before = connection.info[_MEMO] = (transaction, {})
    known: dict[Any, Any] = before[1]
    return known
