"""`/v1/subscriptions/search` (https://docs.stripe.com/api/subscriptions/search)."""

from collections.abc import Mapping

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.search import TOTAL, found_by
from meterhouse.api.subscription import EXPANDABLE_IN_LIST
from meterhouse.api.subscription_now import shown_now
from meterhouse.billing.subscription import Subscription
from meterhouse.ledger import subscriptions
from meterhouse.ledger.subscriptions import Filter
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import SearchParams, search_object
from meterhouse.wire.search import Kind, Search, matches, read_search

_FIELDS: Mapping[str, Kind] = {
    "canceled_at": "numeric",
    "created": "numeric",
    "metadata": "token",
    "status": "token",
}


async def search(call: Call) -> Answer:
    """Search subscriptions, newest first, whatever their status and whichever clock they have."""
    params = call.params(SearchParams)
    check_expand(params.expand, {*EXPANDABLE_IN_LIST, TOTAL})
    asked = read_search(params.query, "subscriptions", _FIELDS)
    wanted = _filter(asked)
    found, has_more, total = await call.read(
        lambda connection: found_by(
            lambda page: subscriptions.list_subscriptions(connection, call.scope.id, page, wanted),
            params,
            lambda one: matches(asked, _values(one), one.metadata),
        )
    )
    data = await shown_now(call, found, params.expand)
    return ok(search_object(call.path, data, has_more=has_more, total=total))


def _filter(asked: Search) -> Filter:
    """Return what of a search a list can do by itself: the status, where it has to hold."""
    statuses = tuple(
        clause.value
        for clause in asked.clauses
        if clause.field == "status" and isinstance(clause.value, str) and not clause.negated
    )
    return Filter(statuses=statuses[:1] if statuses and not asked.any else None)


def _values(one: Subscription) -> dict[str, str | int | None]:
    return {
        "canceled_at": seconds_or_none(one.canceled_at),
        "created": seconds(one.created),
        "status": one.status,
    }
