"""What was answered under an idempotency key (https://docs.stripe.com/api/idempotent_requests).

A record is written in the transaction that has the request's effect: a retry finds either both or
neither. `fingerprint` tells whether the retry asks for the same thing.
"""

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of, insert_rows
from meterhouse.ledger.tables import idempotency_records


class Record(msgspec.Struct, frozen=True, gc=False):
    """The stored answer to the first request under `key`."""

    scope: int
    key: str
    fingerprint: bytes
    request: str
    status: int
    body: bytes
    created: int


_COLUMNS = ("scope", "key", "fingerprint", "request", "status", "body", "created")

_find = sa.select(*(idempotency_records.c[name] for name in _COLUMNS)).where(
    idempotency_records.c.scope == sa.bindparam("wanted_scope"),
    any_of(idempotency_records.c.key, "keys"),
)
_oldest = (
    sa.select(idempotency_records.c.seq, idempotency_records.c.created)
    .order_by(idempotency_records.c.seq)
    .limit(sa.bindparam("rows"))
)


def find(connection: sa.Connection, scope: int, keys: Iterable[str]) -> dict[str, Record]:
    """Return the records under those of `keys` that have one in `scope`."""
    rows = connection.execute(_find, {"wanted_scope": scope, "keys": list(keys)})
    return {row.key: Record(*row) for row in rows}


def put(connection: sa.Connection, records: Sequence[Record]) -> None:
    """Store records, none of whose keys has one yet."""
    insert_rows(
        connection,
        idempotency_records,
        _COLUMNS,
        [(r.scope, r.key, r.fingerprint, r.request, r.status, r.body, r.created) for r in records],
    )


def forget(connection: sa.Connection, records: Iterable[Record]) -> None:
    """Delete records whose time is over, so that their keys can be used anew."""
    for record in records:
        connection.execute(
            sa.delete(idempotency_records).where(
                idempotency_records.c.scope == record.scope,
                idempotency_records.c.key == record.key,
            )
        )


def expire(connection: sa.Connection, created_before: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the oldest records from before an instant; return how many."""
    oldest = connection.execute(_oldest, {"rows": rows_max}).all()
    last = None
    gone = 0
    for seq, created in oldest:
        if created >= created_before:
            break
        last, gone = seq, gone + 1
    if last is not None:
        connection.execute(sa.delete(idempotency_records).where(idempotency_records.c.seq <= last))
    return gone
