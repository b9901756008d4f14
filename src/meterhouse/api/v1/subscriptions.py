"""`/v1/subscriptions`: make, show and list them (https://docs.stripe.com/api/subscriptions).

What is to be paid at once, such as the first period of what is licensed, is invoiced with the
request.
"""

from typing import Literal

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.subscribed import Told
from meterhouse.api.subscription import EXPANDABLE, EXPANDABLE_IN_LIST, GOING, shown
from meterhouse.api.subscription_now import shown_now
from meterhouse.api.subscription_start import SubscriptionCreate, begun, check, check_few_on_clock
from meterhouse.api.turns import turned
from meterhouse.billing.subscription import Subscription
from meterhouse.invoicing.turn import Turn
from meterhouse.ledger import subscriptions, test_clocks
from meterhouse.ledger.subscriptions import Filter
from meterhouse.wire import envelope, subscription_errors, test_clock_errors
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Params, RequestParams, TimeRange

_ENDED = ("canceled", "incomplete_expired")


class TaxFilter(Params):
    """Whether tax is added automatically."""

    enabled: bool


class SubscriptionList(PageParams):
    """The parameters of the list."""

    automatic_tax: TaxFilter | None = None
    collection_method: Literal["charge_automatically", "send_invoice"] | None = None
    created: TimeRange | None = None
    current_period_end: TimeRange | None = None
    current_period_start: TimeRange | None = None
    customer: str | None = None
    customer_account: str | None = None
    plan: str | None = None
    price: str | None = None
    status: str | None = None
    test_clock: str | None = None


async def create(call: Call) -> Answer:
    """Subscribe a customer to prices."""
    params = call.params(SubscriptionCreate)
    check_expand(params.expand, EXPANDABLE)
    check(params)
    subscription_id = new_id("sub")
    told = [
        Told(item, f"items[{number}]", new_id("si"))
        for number, item in enumerate(params.items or ())
    ]

    def show(connection: sa.Connection, one: Subscription) -> Answer:
        return ok(shown(connection, call, [one], params.expand)[0])

    def decide(connection: sa.Connection, *, lock: bool) -> Turn:
        turn = begun(
            connection,
            lock=lock,
            call=call,
            params=params,
            told=told,
            subscription_id=subscription_id,
        )
        check_few_on_clock(connection, call, turn.change.subscription)
        return turn

    return await turned(call, decide, show, "subscription.created", subscription_id)


async def retrieve(call: Call) -> Answer:
    """Show a subscription."""
    params = call.params(RequestParams)
    check_expand(params.expand, EXPANDABLE)

    one = await call.read(subscriptions.find_subscription, call.scope.id, call.ids[0])
    if one is None:
        raise envelope.no_such("subscription", call.ids[0])
    return ok((await shown_now(call, [one], params.expand))[0])


async def list_(call: Call) -> Answer:
    """List subscriptions, newest first; those that are over only where they are asked for."""
    params = call.params(SubscriptionList)
    check_expand(params.expand, EXPANDABLE_IN_LIST)
    wanted = _wanted(params)

    def read(connection: sa.Connection) -> tuple[list[Subscription], bool]:
        scope, clock = call.scope.id, wanted.test_clock
        if clock and test_clocks.find_test_clock(connection, scope, clock) is None:
            raise test_clock_errors.no_such_test_clock(clock, "test_clock")
        page = subscriptions.list_subscriptions(connection, scope, params, wanted)
        if page is None:
            raise envelope.no_such("subscription", params.cursor, params.cursor_param)
        return page

    rows, has_more = await call.read(read)
    return ok(list_object(call.path, await shown_now(call, rows, params.expand), has_more))


def _wanted(params: SubscriptionList) -> Filter:
    if params.status is not None and params.status not in subscription_errors.STATUSES:
        raise subscription_errors.wrong_status_filter()
    statuses: tuple[str, ...] | None = (params.status or "",)
    if params.status is None:
        statuses = GOING
    elif params.status == "ended":
        statuses = _ENDED
    elif params.status == "all":
        statuses = None
    if (params.automatic_tax and params.automatic_tax.enabled) or params.customer_account:
        statuses = ()  # there are none of these
    return Filter(
        customer=params.customer,
        price=params.price or params.plan,
        statuses=statuses,
        collection=params.collection_method,
        test_clock=params.test_clock,
        clocked=None if params.customer or params.test_clock else False,
        created=_window(params.created),
        period_start=_window(params.current_period_start),
        period_end=_window(params.current_period_end),
    )


def _window(range_: TimeRange | None) -> tuple[int | None, int | None]:
    return range_.window() if range_ else (None, None)
