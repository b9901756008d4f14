"""`/v1/subscription_items` (https://docs.stripe.com/api/subscription_items).

A change of an item is a change of its subscription, and announced as one.
"""

from collections.abc import Callable
from functools import partial

import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.subscribed import Told, changed_items
from meterhouse.api.subscription import shown_items, to_change, whole_second
from meterhouse.api.subscription_ends import moved_end
from meterhouse.api.subscription_params import (
    ItemChange,
    PaymentBehavior,
    ProrationBehavior,
    Quantity,
    Refused,
)
from meterhouse.api.thresholds import ItemThresholdParams
from meterhouse.api.turns import turned
from meterhouse.billing.change import Change
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.invoicing.turn import Turn
from meterhouse.ledger import subscriptions
from meterhouse.wire import envelope, subscription_errors
from meterhouse.wire.deleted import deleted
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Metadata, RequestParams

_EXPANDABLE = frozenset({"discounts", "price.currency_options", "price.product", "price.tiers"})
_EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in _EXPANDABLE)


class ItemWrite(RequestParams, kw_only=True):
    """The parameters that a new item and a change to one have in common; see `NewItem`."""

    billing_thresholds: ItemThresholdParams | UnsetType | None = UNSET
    current_trial: Refused = UNSET
    discounts: Refused = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    off_session: bool | None = None
    payment_behavior: PaymentBehavior | None = None
    plan: str | None = None
    price: str | None = None
    price_data: Refused = UNSET
    proration_behavior: ProrationBehavior = "create_prorations"
    proration_date: Refused = UNSET
    quantity: Quantity | None = None
    tax_rates: Refused = UNSET

    def of_item(self, item_id: str | None) -> ItemChange:
        """Return what is told of the item itself; one without an id is new."""
        return ItemChange(
            billing_thresholds=self.billing_thresholds,
            id=item_id,
            metadata=self.metadata,
            plan=self.plan,
            price=self.price,
            quantity=self.quantity,
        )


class ItemCreate(ItemWrite, kw_only=True):
    """The parameters of a new item."""

    subscription: str


class ItemDelete(RequestParams):
    """How an item goes."""

    clear_usage: bool | None = None
    payment_behavior: PaymentBehavior | None = None
    proration_behavior: ProrationBehavior = "create_prorations"
    proration_date: Refused = UNSET


class ItemList(PageParams, kw_only=True):
    """The parameters of the list."""

    subscription: str


async def create(call: Call) -> Answer:
    """Add an item to a subscription."""
    params = call.params(ItemCreate)
    check_expand(params.expand, _EXPANDABLE)
    told = Told(params.of_item(None), "", new_id("si"))

    def show(connection: sa.Connection, one: Subscription) -> Answer:
        return _shown(connection, call, one, told.id, params)

    def find(connection: sa.Connection) -> str:
        found = subscriptions.find_subscription(connection, call.scope.id, params.subscription)
        if found is None:
            raise envelope.no_such("subscription", params.subscription, "subscription")
        return found.id

    return await _turned(call, params.proration_behavior, told, find, show, "created")


async def retrieve(call: Call) -> Answer:
    """Show an item."""
    params = call.params(RequestParams)
    check_expand(params.expand, _EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        one, item = _find(connection, call)
        return _shown(connection, call, one, item.id, params)

    return await call.read(work)


async def update(call: Call) -> Answer:
    """Change an item: its price, how many of it, its metadata."""
    params = call.params(ItemWrite)
    check_expand(params.expand, _EXPANDABLE)

    def show(connection: sa.Connection, one: Subscription) -> Answer:
        return _shown(connection, call, one, call.ids[0], params)

    told = Told(params.of_item(call.ids[0]), "", call.ids[0])
    find = partial(_owner, call)
    return await _turned(call, params.proration_behavior, told, find, show, "updated")


async def delete(call: Call) -> Answer:
    """Remove an item from its subscription."""
    params = call.params(ItemDelete)
    check_expand(params.expand)
    told = Told(ItemChange(id=call.ids[0], deleted=True), "", call.ids[0])

    def show(connection: sa.Connection, one: Subscription) -> Answer:
        del connection, one
        return ok(deleted(call.ids[0], "subscription_item"))

    find = partial(_owner, call)
    return await _turned(call, params.proration_behavior, told, find, show, "deleted")


async def list_(call: Call) -> Answer:
    """List the items of a subscription, newest first."""
    params = call.params(ItemList)
    check_expand(params.expand, _EXPANDABLE_IN_LIST)

    def work(connection: sa.Connection) -> Answer:
        scope = call.scope.id
        one = subscriptions.find_subscription(connection, scope, params.subscription)
        if one is None:
            raise envelope.no_such("subscription", params.subscription, "subscription")
        page = subscriptions.list_items(connection, one.id, params)
        if page is None:
            raise envelope.no_such("subscription_item", params.cursor, params.cursor_param)
        items, has_more = page
        shown = shown_items(connection, call, one, items, params.expand)
        return ok(list_object(call.path, shown, has_more))

    return await call.read(work)


async def usage_records(call: Call) -> Answer:
    """Refuse what Stripe had before there were meters."""
    await call.read(_find, call)
    raise subscription_errors.metered_by_events()


async def _turned(
    call: Call,
    behavior: ProrationBehavior,
    told: Told,
    find: Callable[[sa.Connection], str],
    show: Callable[[sa.Connection, Subscription], Answer],
    action: str,
) -> Answer:
    """Take the turn of the subscription that `find` finds, in which one item changes."""

    def decide(connection: sa.Connection, *, lock: bool) -> Turn:
        before, now = to_change(connection, call, find(connection), lock=lock)
        if before.status == "canceled":
            raise subscription_errors.not_while("canceled")
        at = whole_second(now, before.settled)
        made = changed_items(connection, call, before, [told], at, behavior=behavior)
        at_once = behavior == "always_invoice" and made.billed
        return Turn(
            before=before,
            change=Change(moved_end(made.subscription), made.settled),
            at=at,
            events=("updated",),
            invoice="subscription_update" if at_once else None,
            draft=before.collection == "send_invoice",
        )

    return await turned(call, decide, show, f"subscription_item.{action}", told.id)


def _owner(call: Call, connection: sa.Connection) -> str:
    return _find(connection, call)[0].id


def _find(connection: sa.Connection, call: Call) -> tuple[Subscription, Item]:
    found = subscriptions.find_item(connection, call.scope.id, call.ids[0])
    if found is None:
        raise envelope.no_such("subscription_item", call.ids[0])
    return found


def _shown(
    connection: sa.Connection, call: Call, one: Subscription, item_id: str, params: RequestParams
) -> Answer:
    items = [item for item in one.items if item.id == item_id]
    return ok(shown_items(connection, call, one, items, params.expand)[0])
