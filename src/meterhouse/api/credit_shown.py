"""Credit grants and their transactions, as they are shown in the places of their ids."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from meterhouse.api.call import Call
from meterhouse.ledger import credit_grants, credit_transactions
from meterhouse.render.credit import render_grant, render_transaction


def grants_shown(
    connection: sa.Connection, call: Call, ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return credit grants as they are shown, by their ids."""
    return {
        id_: render_grant(one, livemode=call.scope.livemode, version=call.version)
        for id_, one in credit_grants.by_ids(connection, ids).items()
    }


def transactions_shown(
    connection: sa.Connection, call: Call, ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return the transactions of their balances as they are shown, by their ids."""
    return {
        id_: render_transaction(one, livemode=call.scope.livemode)
        for id_, one in credit_transactions.by_ids(connection, ids).items()
    }
