"""What is subscribed to: the items that requests tell, and what becomes of those that are there.

What a reader may rely on:

- A subscription has items of active, recurring prices, no price twice, all in one currency and
  billed in intervals that go together.
- What would charge or credit a part of a licensed item's period is refused, because there are no
  prorations here; `proration_behavior=none` asks for none.

https://docs.stripe.com/api/subscription_items
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse import limits
from meterhouse.api.call import Call
from meterhouse.api.subscription import prices_of
from meterhouse.api.subscription_params import ItemChange, NewItem
from meterhouse.api.thresholds import check_thresholds, usage_gte_of
from meterhouse.billing import change
from meterhouse.billing.change import Change, Stretch
from meterhouse.billing.period import Period
from meterhouse.billing.price import Price, Recurrence
from meterhouse.billing.subscription import BillingMode, Item, Subscription
from meterhouse.ledger import prices
from meterhouse.wire import envelope, param_errors, subscription_errors
from meterhouse.wire.metadata import merge_metadata

Prices = Mapping[str, Price]

# How many days or months an interval has: those of the one kind never go with the other.
_LENGTHS: Mapping[str, tuple[Literal["days", "months"], int]] = {
    "day": ("days", 1),
    "week": ("days", 7),
    "month": ("months", 1),
    "year": ("months", 12),
}


class Told(NamedTuple):
    """An item as a request tells it: `where` is what it calls it, empty for the request itself.

    `id` is that of the item, if it is new, and `price` one that is only imagined.
    """

    params: NewItem
    where: str
    id: str
    price: Price | None = None

    def name(self, member: str) -> str:
        """Return what the request calls a member."""
        return f"{self.where}[{member}]" if self.where else member


def new_items(
    connection: sa.Connection, call: Call, told: Sequence[Told], now: int
) -> tuple[tuple[Item, ...], dict[str, Price]]:
    """Return the items of a new subscription, without periods, and their prices."""
    items: list[Item] = []
    known: dict[str, Price] = {}
    for one in told:
        price = _priced(connection, call, one)
        known[price.id] = price
        items.append(_new_item(one, price, now))
    return tuple(items), known


def changed_items(
    connection: sa.Connection,
    call: Call,
    subscription: Subscription,
    told: Sequence[Told],
    at: int,
    *,
    behavior: str,
    anew: bool = False,
) -> Change:
    """Return what a subscription becomes as its items change.

    Its usage before is billed where prices share a period, and where all periods begin `anew`.
    """
    known = prices_of(connection, call, [subscription])
    billed = anew or change.splits(subscription, behavior)
    settled: list[Stretch] = []
    one = subscription
    for each in told:
        item, old = _item(connection, call, one, each, known, at)
        if _prorated(one, old, item) and behavior != "none":
            raise subscription_errors.needs_prorations(each.name("quantity"))
        turn = _turned(one, old, item, known, at, billed=billed)
        settled += turn.settled
        one = turn.subscription
    check_items(one, known)
    return Change(one, tuple(settled))


def check_items(subscription: Subscription, known: Prices) -> None:
    """Refuse items that do not go together."""
    items = subscription.items
    if not items:
        raise subscription_errors.last_item()
    if len(items) > limits.SUBSCRIPTION_ITEMS_MAX:
        raise subscription_errors.too_many_items(limits.SUBSCRIPTION_ITEMS_MAX)
    seen: set[str] = set()
    for number, item in enumerate(items):
        if item.price in seen:
            raise subscription_errors.same_price(item.price)
        seen.add(item.price)
        price = known[item.price]
        own = {price.pricing.currency, *price.options}
        if subscription.currency not in own:
            raise subscription_errors.other_currency(
                own, subscription.currency, f"items[{number}][price]"
            )
    intervals = [recurrence for id_, recurrence in recurrences(known).items() if id_ in seen]
    if not _fit(intervals, subscription.mode):
        raise subscription_errors.different_intervals(flexible=subscription.mode == "flexible")
    check_thresholds(subscription, known)


def recurrences(known: Prices) -> dict[str, Recurrence]:
    """Return how often each price is billed that is."""
    return {id_: one.recurring.recurrence for id_, one in known.items() if one.recurring}


def is_licensed(item: Item) -> bool:
    """Tell whether an item is billed by its quantity, beforehand."""
    return item.quantity is not None


def _fit(intervals: Sequence[Recurrence], mode: BillingMode) -> bool:
    lengths = {
        (unit, size * one.count) for one in intervals for unit, size in [_LENGTHS[one.interval]]
    }
    if mode == "classic":
        return len(set(intervals)) == 1
    shortest = min(size for _, size in lengths)
    return len({unit for unit, _ in lengths}) == 1 and all(
        size % shortest == 0 for _, size in lengths
    )


def _item(
    connection: sa.Connection,
    call: Call,
    subscription: Subscription,
    told: Told,
    known: dict[str, Price],
    at: int,
) -> tuple[Item | None, Item | None]:
    """Return what an item becomes, None where it goes, and what it was, None where it is new."""
    params = told.params
    if not isinstance(params, ItemChange) or params.id is None:
        price = _priced(connection, call, told)
        known[price.id] = price
        return _new_item(told, price, at), None
    old = next((item for item in subscription.items if item.id == params.id), None)
    if old is None:
        raise envelope.no_such("subscription_item", params.id, told.name("id"))
    if params.deleted:
        return None, old
    price = known[old.price]
    if told.price or (params.price or params.plan or old.price) != old.price:
        price = _priced(connection, call, told)
        known[price.id] = price
    quantity = _quantity(told, price)
    if quantity is not None and params.quantity is None and price.id == old.price:
        quantity = old.quantity
    changed = replace(
        old,
        price=price.id,
        quantity=quantity,
        usage_gte=_usage_gte(told, old, price),
        metadata=merge_metadata(old.metadata, params.metadata),
    )
    return changed, old


def _turned(
    subscription: Subscription,
    old: Item | None,
    item: Item | None,
    known: Prices,
    at: int,
    *,
    billed: bool,
) -> Change:
    often = recurrences(known)
    if old is None and item is not None:
        return change.item_added(subscription, item, often, at)
    if item is not None:
        return change.item_changed(subscription, item, often, at, billed=billed)
    if old is None:
        return Change(subscription)
    return change.item_removed(subscription, old.id, at, billed=billed)


def _prorated(subscription: Subscription, old: Item | None, item: Item | None) -> bool:
    """Tell whether a change would charge or credit a part of a period."""
    if subscription.status in ("paused", "trialing"):
        return False
    if old and item and (old.price, old.quantity) == (item.price, item.quantity):
        return False
    return any(one is not None and is_licensed(one) for one in (old, item))


def _priced(connection: sa.Connection, call: Call, told: Told) -> Price:
    """Return the price that a request names for an item; refuse one that cannot be billed."""
    if told.price is not None:
        return told.price
    params = told.params
    if params.price is not None and params.plan is not None:
        raise param_errors.exclusive_params(told.name("price"), told.name("plan"))
    named = params.price or params.plan
    param = told.name("plan" if params.plan else "price")
    if named is None:
        raise subscription_errors.no_price(param)
    price = prices.find_price(connection, call.scope.id, named)
    if price is None:
        raise envelope.no_such("price", named, param)
    if not price.active:
        raise subscription_errors.inactive_price(param)
    if price.recurring is None:
        raise subscription_errors.one_time_price(param)
    return price


def _new_item(told: Told, price: Price, now: int) -> Item:
    return Item(
        id=told.id,
        price=price.id,
        quantity=_quantity(told, price),
        period=Period(now, now),
        since=now,
        usage_gte=_usage_gte(told, None, price),
        metadata=merge_metadata({}, told.params.metadata),
        created=now,
    )


def _usage_gte(told: Told, item: Item | None, price: Price) -> int | None:
    """Return of how much usage of an item an invoice is made at once."""
    param = told.name("billing_thresholds")
    return usage_gte_of(told.params.billing_thresholds, item, price, param)


def _quantity(told: Told, price: Price) -> int | None:
    """Return how many of a price somebody has; None where usage tells."""
    quantity = told.params.quantity
    if price.recurring and price.recurring.usage_type == "metered":
        if quantity is not None:
            raise subscription_errors.quantity_of_metered(told.where)
        return None
    return 1 if quantity is None else quantity
