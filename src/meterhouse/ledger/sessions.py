"""The secret that signs the tokens of sessions: every node that opens the ledger knows it."""

import sqlalchemy as sa

from meterhouse.ledger.tables import session_secret


def read_secret(connection: sa.Connection) -> bytes:
    """Return the secret, which was made with the ledger's tables."""
    secret: bytes = connection.execute(sa.select(session_secret.c.secret)).scalar_one()
    return secret
