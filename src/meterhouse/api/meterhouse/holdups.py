"""`/meterhouse/v1/holdups`: what is due and cannot be billed, why, and when it is tried again."""

from typing import Annotated, Any

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import holdups
from meterhouse.ledger.holdups import Holdup
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import list_object
from meterhouse.wire.params import Between, RequestParams


class HoldupList(RequestParams):
    """The parameters of the list."""

    customer: str | None = None
    limit: Annotated[int, Between(1, limits.PAGE_LIMIT_MAX)] = limits.PAGE_LIMIT_DEFAULT


async def list_(call: Call) -> Answer:
    """List what is held up, for the longest time first."""
    params = call.params(HoldupList)
    check_expand(params.expand)
    rows = params.limit + 1
    found = await call.read(holdups.list_holdups, call.scope.id, rows, params.customer)
    data = [_document(one) for one in found[: params.limit]]
    return ok(list_object(call.path, data, len(found) > params.limit))


def _document(one: Holdup) -> dict[str, Any]:
    return {
        "object": "meterhouse.holdup",
        "advice": one.advice,
        "attempts": one.attempts,
        "code": one.code,
        "customer": one.customer,
        "held_up": one.object,
        "message": one.message,
        "next_attempt": seconds_or_none(one.again_at),
        "since": seconds(one.since),
        "test_clock": one.test_clock,
    }
