"""`/v1/subscriptions/search` (https://docs.stripe.com/api/subscriptions/search)."""

from collections.abc import Mapping

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call
from meterhouse.api.search import Searchable, answer
from meterhouse.api.subscription import EXPANDABLE_IN_LIST
from meterhouse.api.subscription_now import shown_now
from meterhouse.billing.subscription import Subscription
from meterhouse.ledger import subscriptions
from meterhouse.ledger.subscriptions import Filter
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.page import PageParams
from meterhouse.wire.search import Kind, Search

_FIELDS: Mapping[str, Kind] = {
    "canceled_at": "numeric",
    "created": "numeric",
    "metadata": "token",
    "status": "token",
}


async def search(call: Call) -> Answer:
    """Search subscriptions, newest first, whatever their status and whichever clock they have."""
    return await answer(call, _SUBSCRIPTIONS)


def _listed(
    connection: sa.Connection, scope: int, page: PageParams, asked: Search
) -> tuple[list[Subscription], bool] | None:
    """List by the status, where it has to hold."""
    statuses = tuple(
        clause.value
        for clause in asked.clauses
        if clause.field == "status" and isinstance(clause.value, str) and not clause.negated
    )
    wanted = Filter(statuses=statuses[:1] if statuses and not asked.any else None)
    return subscriptions.list_subscriptions(connection, scope, page, wanted)


def _values(one: Subscription) -> dict[str, str | int | None]:
    return {
        "canceled_at": seconds_or_none(one.canceled_at),
        "created": seconds(one.created),
        "status": one.status,
    }


_SUBSCRIPTIONS = Searchable(
    "subscriptions", _FIELDS, EXPANDABLE_IN_LIST, _listed, _values, shown_now
)
