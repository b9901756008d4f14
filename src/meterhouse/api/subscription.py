"""Subscriptions: what the endpoints about them, and about their items, have in common.

https://docs.stripe.com/api/subscriptions
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from meterhouse.api.call import Call
from meterhouse.billing.change import canceled
from meterhouse.billing.price import Price
from meterhouse.billing.subscription import Item, Subscription, overdue
from meterhouse.errors import OutdatedError
from meterhouse.invoicing.present import present, shown_at
from meterhouse.invoicing.turn import Terms, Turn, take
from meterhouse.ledger import (
    customers,
    holdups,
    invoice_lines,
    invoices,
    prices,
    products,
    subscriptions,
    test_clocks,
)
from meterhouse.ledger.customers import Customer
from meterhouse.ledger.subscriptions import Filter
from meterhouse.render.catalog import render_product
from meterhouse.render.customer import render_customer
from meterhouse.render.invoice import render_invoice
from meterhouse.render.subscription import render_item, render_subscription
from meterhouse.render.test_clock import render_test_clock
from meterhouse.wire import envelope, subscription_errors
from meterhouse.wire.expand import expanded
from meterhouse.wire.page import PageParams, list_object

EXPANDABLE = frozenset(
    {
        "application",
        "customer",
        "default_payment_method",
        "default_source",
        "discounts",
        "items.data.discounts",
        "items.data.price.currency_options",
        "items.data.price.product",
        "items.data.price.tiers",
        "latest_invoice",
        "on_behalf_of",
        "pending_setup_intent",
        "plan.product",
        "schedule",
        "test_clock",
    }
)
EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in EXPANDABLE)
GOING = ("active", "past_due", "paused", "trialing")
_IN_PRICE = "items.data.price."


def whole_second(now: int, least: int = 0) -> int:
    """Return the second of an instant, since senders tell time in whole ones; `least` or later.

    What begins then has the usage of all of it.
    """
    return max(now // 1000 * 1000, least)


def customer_of(connection: sa.Connection, call: Call, customer_id: str, *, lock: bool) -> Customer:
    """Return a customer that exists; with `lock`, for nobody else to change until we commit."""
    customer = customers.find_customer(connection, call.scope.id, customer_id, lock=lock)
    if customer is None or customer.deleted_at is not None:
        raise subscription_errors.no_such_customer(customer_id)
    return customer


def now_of(connection: sa.Connection, call: Call, test_clock: str | None, *, lock: bool) -> int:
    """Return the present of what lives by a clock; with `lock` it stays until we commit."""
    look = present if lock else shown_at
    return look(connection, call.scope.id, test_clock, call.now)


def to_change(
    connection: sa.Connection,
    call: Call,
    subscription_id: str,
    *,
    lock: bool,
    ends: bool = False,
) -> tuple[Subscription, int]:
    """Return a subscription and its present; with `lock`, for nobody else to change.

    Raises `OutdatedError` while something is to happen to it that was due before. One of which that
    is held up is refused, unless it `ends` with nothing billed.
    """
    scope = call.scope.id
    found = subscriptions.find_subscription(connection, scope, subscription_id)
    if found is None:
        raise envelope.no_such("subscription", subscription_id)
    now = now_of(connection, call, found.test_clock, lock=lock)
    if lock:
        customers.find_customer(connection, scope, found.customer, lock=True)
        found = subscriptions.find_subscription(connection, scope, subscription_id, lock=True)
        if found is None:
            raise envelope.no_such("subscription", subscription_id)
    if overdue(found, now) and not (ends and holdups.find(connection, found.id)):
        check_not_held_up(connection, found)
        raise OutdatedError(f"What is due of '{found.id}' is not done yet.")
    return found, now


def check_not_held_up(connection: sa.Connection, one: Subscription) -> None:
    """Refuse a subscription of which something is due that cannot be billed."""
    held = holdups.find(connection, one.id)
    if held is not None:
        raise subscription_errors.held_up(one.id, held.message)


def shown(
    connection: sa.Connection,
    call: Call,
    rows: Sequence[Subscription],
    expand: Iterable[str],
    latest: Mapping[str, dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return subscriptions as they are shown, with what the paths of `expand` name.

    Their latest invoices are shown as in `latest`; where that is None, as they are stored.
    """
    paths = [path.removeprefix("data.") for path in expand]
    in_price = _below(paths, _IN_PRICE) | _below(paths, "plan.")
    known = prices_of(connection, call, rows)
    sold = _products(connection, call, known, in_price)
    members: dict[str, Mapping[str, Any]] = {}
    for name, read in _MEMBERS.items():
        if name in expanded(paths):
            members[name] = read(connection, call, _named(rows, name))
    if "latest_invoice" in expanded(paths):
        ids = _named(rows, "latest_invoice")
        members["latest_invoice"] = latest or invoices_shown(connection, call, ids)
    return [
        render_subscription(
            row,
            known,
            livemode=call.scope.livemode,
            version=call.version,
            expand=in_price,
            products=sold,
            members={
                name: found[value]
                for name, found in members.items()
                if (value := getattr(row, name)) in found
            },
        )
        for row in rows
    ]


def page_of_customer(
    connection: sa.Connection, call: Call, customer: str, page: PageParams
) -> tuple[list[Subscription], bool]:
    """Return a page of what a customer is subscribed to, newest first, and if there is more."""
    wanted = Filter(customer=customer, statuses=GOING)
    found = subscriptions.list_subscriptions(connection, call.scope.id, page, wanted)
    if found is None:
        raise envelope.no_such("subscription", page.cursor, page.cursor_param)
    return found


def shown_of_customer(
    connection: sa.Connection, call: Call, customer: str, expand: Iterable[str]
) -> dict[str, Any]:
    """Return the newest subscriptions of a customer, as the customer shows them.

    The paths of `expand` are those of the customer.
    """
    prefix = "subscriptions.data."
    within = [path.removeprefix(prefix) for path in expand if path.startswith(prefix)]
    rows, has_more = page_of_customer(connection, call, customer, PageParams())
    url = f"/v1/customers/{customer}/subscriptions"
    return list_object(url, shown(connection, call, rows, within), has_more)


def end_all(connection: sa.Connection, call: Call, customer: Customer) -> None:
    """End whatever a customer, whom nobody else changes, is subscribed to; nothing is billed."""
    now = now_of(connection, call, customer.test_clock, lock=True)
    terms = Terms.of(call.services.config)
    for one in subscriptions.of_customer(connection, call.scope.id, customer.id, lock=True):
        over = canceled(one, now, billed=False)
        turn = Turn(before=one, change=over, at=now, events=("deleted",))
        take(connection, call.cause, turn, (), terms)


def shown_items(
    connection: sa.Connection,
    call: Call,
    one: Subscription,
    items: Sequence[Item],
    expand: Iterable[str],
) -> list[dict[str, Any]]:
    """Return items of a subscription as they are shown, with what the paths of `expand` name."""
    in_price = _below(expand, "price.")
    known = prices_of(connection, call, [one])
    return [
        render_item(
            item,
            one,
            known[item.price],
            livemode=call.scope.livemode,
            version=call.version,
            expand=in_price,
            products=_products(connection, call, known, in_price),
        )
        for item in items
    ]


def prices_of(
    connection: sa.Connection, call: Call, rows: Iterable[Subscription]
) -> dict[str, Price]:
    """Return the prices of the items of subscriptions, by their ids."""
    named = {item.price for row in rows for item in row.items}
    return prices.by_ids(connection, call.scope.id, named)


def _below(paths: Iterable[str], prefix: str) -> set[str]:
    """Return which members of what `prefix` leads to are to be expanded."""
    within = (path.removeprefix("data.") for path in paths)
    return {
        path.removeprefix(prefix).partition(".")[0] for path in within if path.startswith(prefix)
    }


def _products(
    connection: sa.Connection, call: Call, known: Mapping[str, Price], expand: Collection[str]
) -> dict[str, dict[str, Any]]:
    if "product" not in expand:
        return {}
    named = {price.product for price in known.values()}
    sold = products.by_ids(connection, call.scope.id, named)
    livemode = call.scope.livemode
    return {id_: render_product(one, livemode=livemode) for id_, one in sold.items()}


def customers_shown(
    connection: sa.Connection, call: Call, ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return customers as they are shown, by their ids."""
    found = [customers.find_customer(connection, call.scope.id, id_) for id_ in ids]
    livemode = call.scope.livemode
    return {one.id: render_customer(one, livemode=livemode) for one in found if one}


def clocks_shown(
    connection: sa.Connection, call: Call, ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return test clocks as they are shown, by their ids."""
    found = [test_clocks.find_test_clock(connection, call.scope.id, id_) for id_ in ids]
    return {one.id: render_test_clock(one) for one in found if one}


def _named(rows: Iterable[Subscription], member: str) -> set[str]:
    return {value for row in rows if (value := getattr(row, member)) is not None}


def invoices_shown(
    connection: sa.Connection, call: Call, ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return invoices as they are shown and stored, by their ids."""
    lines = invoice_lines.lines_of(connection, ids)
    named = {line.price for some in lines.values() for line in some if line.price}
    known = prices.by_ids(connection, call.scope.id, named)
    found = [invoices.find_invoice(connection, call.scope.id, id_) for id_ in ids]
    return {
        one.id: render_invoice(
            one, lines[one.id], livemode=call.scope.livemode, version=call.version, prices=known
        )
        for one in found
        if one
    }


# What shows the objects that members of a subscription name, by their ids.
_MEMBERS: Mapping[str, Callable[..., Mapping[str, Any]]] = {
    "customer": customers_shown,
    "test_clock": clocks_shown,
}
