"""`/v1/subscriptions/{id}`: change, cancel, pause, resume and migrate them.

https://docs.stripe.com/api/subscriptions
"""

from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.subscribed import Told
from meterhouse.api.subscription import EXPANDABLE, shown, to_change
from meterhouse.api.subscription_change import (
    SubscriptionCancel,
    SubscriptionMigrate,
    SubscriptionPause,
    SubscriptionResume,
    SubscriptionUpdate,
    canceled,
    migrated,
    paused,
    resumed,
    updated,
)
from meterhouse.api.turns import turned
from meterhouse.billing.subscription import Subscription
from meterhouse.invoicing.turn import Turn
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.params import RequestParams

Work = Callable[[sa.Connection, Subscription, int], Turn]


async def update(call: Call) -> Answer:
    """Change a subscription, its items, and when its periods begin and end."""
    params = call.params(SubscriptionUpdate)
    told = [
        Told(item, f"items[{number}]", new_id("si"))
        for number, item in enumerate(params.items or ())
    ]
    return await _turned(call, params, "subscription.updated", partial(updated, call, params, told))


async def cancel(call: Call) -> Answer:
    """End a subscription now."""
    params = call.params(SubscriptionCancel)
    work = partial(canceled, call, params)
    ends = not params.invoice_now
    return await _turned(call, params, "subscription.canceled", work, ends=ends)


async def pause(call: Call) -> Answer:
    """Let a subscription stand still."""
    params = call.params(SubscriptionPause)
    return await _turned(call, params, "subscription.paused", partial(paused, params))


async def resume(call: Call) -> Answer:
    """Let a subscription go on that stands still."""
    params = call.params(SubscriptionResume)
    return await _turned(call, params, "subscription.resumed", partial(resumed, call, params))


async def migrate(call: Call) -> Answer:
    """Bring a subscription to the flexible billing mode."""
    params = call.params(SubscriptionMigrate)
    return await _turned(call, params, "subscription.migrated", partial(migrated, params))


async def _turned(
    call: Call, params: RequestParams, action: str, work: Work, *, ends: bool = False
) -> Answer:
    """Take the turn that `work` makes of the subscription in the path and its present.

    `ends` tells that it ends with nothing billed, whatever is due of it.
    """
    check_expand(params.expand, EXPANDABLE)

    def decide(connection: sa.Connection, *, lock: bool) -> Turn:
        one, now = to_change(connection, call, call.ids[0], lock=lock, ends=ends)
        return work(connection, one, now)

    def show(connection: sa.Connection, one: Subscription) -> Answer:
        return ok(shown(connection, call, [one], params.expand)[0])

    return await turned(call, decide, show, action, call.ids[0])
