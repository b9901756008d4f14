"""The secret that signs: every node that opens the ledger knows it, and no back-up is without it.

Nothing is signed with the secret itself, but with keys that are derived from it (`wire.signing`).
No id follows from it, so it can be renewed at any time.
"""

import secrets
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger import dashboard_sessions, listeners
from meterhouse.ledger.tables import signing_secret

_BYTES = 32


class Ended(NamedTuple):
    """How many sessions have ended with a secret, beside all the tokens that it had signed."""

    dashboard: int
    listeners: int


def read_secret(connection: sa.Connection) -> bytes:
    """Return the secret, which was made with the ledger's tables."""
    secret: bytes = connection.execute(sa.select(signing_secret.c.secret)).scalar_one()
    return secret


def rotate(connection: sa.Connection) -> Ended:
    """Put another secret in its place, and end whatever a reader of the ledger could have used.

    Nobody can sign in with a session of the dashboard as the ledger has it. It ends as well, so
    that after this nothing counts any more that was given out before.
    """
    connection.execute(sa.update(signing_secret).values(secret=secrets.token_bytes(_BYTES)))
    return Ended(dashboard_sessions.end_everybodys(connection), listeners.forget_all(connection))
