"""What was answered under an idempotency key (https://docs.stripe.com/api/idempotent_requests).

A record is written in the transaction that has the request's effect: a retry finds either both or
neither. `fingerprint` tells whether the retry asks for the same thing. A record counts until it
expires, which each API does at its own time; it may still lie here until `expire` comes by.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of, insert_rows
from meterhouse.ledger.tables import idempotency_records
from meterhouse.wire.body import to_json
from meterhouse.wire.version import Api

Name = tuple[int, Api, str]  # scope, API and key


class Record(msgspec.Struct, frozen=True, gc=False):
    """The stored answer to the first request under `key`, which counts until `expires_at`.

    `customer` is the id of the customer that the answer shows, None where it shows none.
    """

    scope: int
    api: Api
    key: str
    fingerprint: bytes
    request: str
    status: int
    body: bytes
    expires_at: int
    customer: str | None = None

    @property
    def name(self) -> Name:
        """What no other record has: a key names one request in one API of one scope."""
        return self.scope, self.api, self.key


class Change(NamedTuple):
    """An answer that becomes another: the number of its record, and both bodies."""

    seq: int
    before: bytes
    after: bytes


_COLUMNS = Record.__struct_fields__

_find = sa.select(*(idempotency_records.c[name] for name in _COLUMNS)).where(
    idempotency_records.c.scope == sa.bindparam("wanted_scope"),
    idempotency_records.c.api == sa.bindparam("wanted_api"),
    any_of(idempotency_records.c.key, "keys"),
)
_expired = (
    sa.select(idempotency_records.c.seq)
    .where(idempotency_records.c.expires_at <= sa.bindparam("now"))
    .order_by(idempotency_records.c.expires_at)
    .limit(sa.bindparam("rows"))
)
_expire = sa.delete(idempotency_records).where(idempotency_records.c.seq.in_(_expired))


def find(connection: sa.Connection, scope: int, api: Api, keys: Iterable[str]) -> dict[str, Record]:
    """Return the records, expired or not, under those of `keys` that have one in `scope`."""
    wanted = {"wanted_scope": scope, "wanted_api": api, "keys": list(keys)}
    rows = connection.execute(_find, wanted)
    return {row.key: Record(*row) for row in rows}


def put(connection: sa.Connection, records: Sequence[Record]) -> None:
    """Store records, none of whose keys has one yet.

    Raises `IntegrityError` when one has: where several processes write, another may have stored it
    since it was looked for. That one's commit is waited for, so they are stored in order.
    """
    ordered = sorted(records, key=lambda record: record.name)
    rows = [msgspec.structs.astuple(record) for record in ordered]
    insert_rows(connection, idempotency_records, _COLUMNS, rows)


def forget(connection: sa.Connection, records: Iterable[Record]) -> None:
    """Delete records whose time is over, so that their keys can be used anew."""
    for record in records:
        connection.execute(
            sa.delete(idempotency_records).where(
                idempotency_records.c.scope == record.scope,
                idempotency_records.c.api == record.api,
                idempotency_records.c.key == record.key,
            )
        )


def erase_customer(
    connection: sa.Connection, scope: int, customer_id: str, left: Mapping[str, Any]
) -> None:
    """Let the answers that show a customer show only what is `left` of it."""
    connection.execute(
        sa.update(idempotency_records)
        .where(idempotency_records.c.scope == scope, idempotency_records.c.customer == customer_id)
        .values(body=to_json(left))
    )


def payloads_with(
    connection: sa.Connection,
    scope: int,
    customer_id: str,
    keys: Collection[str],
    page: tuple[int, int],
) -> tuple[int | None, list[Change]]:
    """Find answers to meter events of a customer whose payloads have some of these keys.

    A `page` is the number of a record, and how many of those after it are looked through. Returns
    the number to go on after, None at the end, and what takes the keys out of the answers.
    """
    after, rows_max = page
    columns = (idempotency_records.c.seq, idempotency_records.c.body)
    rows = connection.execute(
        sa.select(*columns)
        .where(idempotency_records.c.scope == scope, idempotency_records.c.seq > after)
        .order_by(idempotency_records.c.seq)
        .limit(rows_max)
    ).all()
    name = customer_id.encode()
    changes = []
    for seq, body in rows:
        answer = _without(body, customer_id, keys) if name in body else None
        if answer is not None:
            changes.append(Change(seq, body, answer))
    return rows[-1].seq if len(rows) == rows_max else None, changes


def change(connection: sa.Connection, changes: Iterable[Change]) -> None:
    """Replace answers; one that has gone meanwhile is passed over."""
    for seq, before, after in changes:
        connection.execute(
            sa.update(idempotency_records)
            .where(idempotency_records.c.seq == seq, idempotency_records.c.body == before)
            .values(body=after)
        )


def _without(body: bytes, customer_id: str, keys: Collection[str]) -> bytes | None:
    """Return an answer without some keys of its payload; None where it has none of them."""
    document = msgspec.json.decode(body)
    payload = document.get("payload")
    if not isinstance(payload, dict) or customer_id not in payload.values():
        return None
    if payload.keys().isdisjoint(keys):
        return None
    document["payload"] = {key: text for key, text in payload.items() if key not in keys}
    return to_json(document)


def expire(connection: sa.Connection, now: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the records that have expired; return how many went."""
    return connection.execute(_expire, {"now": now, "rows": rows_max}).rowcount
