"""Users: the people who may sign in to the dashboard.

- A password is never stored, only its Argon2id hash. Hashing takes tens of milliseconds and 64 MB
  on purpose, so it is done before a transaction that writes (`hash_password`).
- `matches` takes as long for a name that nobody has as for one that somebody has. It needs no
  connection, and takes as much time and memory as hashing.
- Another password, and the deletion of a user, end the user's sessions (`dashboard_sessions`).
"""

from base64 import b64encode
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from meterhouse.ledger.tables import dashboard_sessions, users

Role = Literal["admin", "viewer"]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user; a viewer looks, an admin may change things too.

    `accounts` and `livemode` bind one to accounts and to a mode; None is all of them, and both.
    """

    name: str
    role: Role
    accounts: list[str] | None
    livemode: bool | None
    created: int
    password_set_at: int


_hasher = PasswordHasher()


def _of_nobody() -> str:
    """Return a hash that no password has, and that takes as long to find out as any other."""
    salt, digest = (
        b64encode(bytes(size)).rstrip(b"=").decode()
        for size in (_hasher.salt_len, _hasher.hash_len)
    )
    costs = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"


_NOBODY = _of_nobody()
_OWN = User.__struct_fields__
_users = sa.select(*(users.c[name] for name in _OWN))
_hash_of = sa.select(users.c.password_hash).where(users.c.name == sa.bindparam("wanted"))


def hash_password(password: str) -> str:
    """Return what is kept of a password."""
    return _hasher.hash(password)


def create_user(
    connection: sa.Connection,
    name: str,
    password_hash: str,
    role: Role,
    now: int,
    *,
    accounts: list[str] | None = None,
    livemode: bool | None = None,
) -> User | None:
    """Make a user; None when the name is taken."""
    if find_user(connection, name) is not None:
        return None
    user = User(
        name=name,
        role=role,
        accounts=accounts,
        livemode=livemode,
        created=now,
        password_set_at=now,
    )
    row = msgspec.structs.asdict(user) | {"password_hash": password_hash}
    connection.execute(sa.insert(users), row)
    return user


def find_user(connection: sa.Connection, name: str) -> User | None:
    """Return the user with a name; None when there is none."""
    row = connection.execute(_users.where(users.c.name == name)).mappings().one_or_none()
    return _user(row) if row else None


def list_users(connection: sa.Connection) -> list[User]:
    """Return every user, the oldest first."""
    rows = connection.execute(_users.order_by(users.c.seq)).mappings()
    return [_user(row) for row in rows]


def set_password(connection: sa.Connection, name: str, password_hash: str, now: int) -> User | None:
    """Give a user another password, which ends their sessions; None when there is no such user."""
    connection.execute(
        sa.update(users)
        .where(users.c.name == name)
        .values(password_hash=password_hash, password_set_at=now)
    )
    connection.execute(sa.delete(dashboard_sessions).where(dashboard_sessions.c.user_name == name))
    return find_user(connection, name)


def delete_user(connection: sa.Connection, name: str) -> bool:
    """Delete a user, and with them their sessions; False when there is no such user."""
    return connection.execute(sa.delete(users).where(users.c.name == name)).rowcount > 0


def find_hash(connection: sa.Connection, name: str) -> str | None:
    """Return what is kept of a user's password; None when there is no such user."""
    found: str | None = connection.execute(_hash_of, {"wanted": name}).scalar_one_or_none()
    return found


def matches(password_hash: str | None, password: str) -> bool:
    """Tell whether this is kept of that password; nothing matches where nothing is kept."""
    try:
        _hasher.verify(password_hash or _NOBODY, password)
    except VerificationError:
        return False
    return password_hash is not None


def _user(row: sa.RowMapping) -> User:
    values: dict[str, Any] = dict(row)
    return User(**values)
