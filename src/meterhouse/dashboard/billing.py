"""What a customer is billed: subscriptions, what comes next as usage has it now, and invoices."""

import asyncio
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from starlette.responses import Response

from meterhouse.dashboard import prices
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.position import Position, position
from meterhouse.dashboard.statement import Statement, state
from meterhouse.dashboard.streaming import event_stream
from meterhouse.dashboard.visit import Visit

_SUBSCRIPTIONS = "/v1/subscriptions"
_INVOICES = "/v1/invoices"
_PREVIEW = "/v1/invoices/create_preview"
_SHOWN = 10
_UNDER_WAY = frozenset({"active", "past_due", "trialing"})


class Bills(NamedTuple):
    """What a page shows of a customer's subscriptions and invoices; some of the newest.

    `held_up` is what is due of them and cannot be billed.
    """

    held_up: list[dict[str, Any]]
    subscriptions: list[dict[str, Any]]
    invoices: list[dict[str, Any]]
    products: dict[str, str]
    titles: dict[str, str]
    more_invoices: bool


class Threshold(NamedTuple):
    """How far it is to an invoice that is made early.

    That is in money, or in usage of the item of this price, by its id.
    """

    position: Position
    price: str | None


class Coming(NamedTuple):
    """An invoice that comes next, as it would be printed, and how far it is to an earlier one."""

    invoice: dict[str, Any]
    statement: Statement
    thresholds: list[Threshold]


async def of_customer(visit: Visit, customer: str) -> Bills:
    """Return the subscriptions and the invoices of a customer."""
    asked = [("customer", customer), ("limit", _SHOWN)]
    held_up, subscriptions, invoices = await asyncio.gather(
        visit.items("/meterhouse/v1/holdups", asked),
        visit.items(_SUBSCRIPTIONS, [*asked, ("status", "all")]),
        visit.get(_INVOICES, asked),
    )
    sold = [item["price"] for one in subscriptions for item in one["items"]["data"]]
    return Bills(
        held_up,
        subscriptions,
        invoices["data"],
        await product_names(visit, (price["product"] for price in sold)),
        {price["id"]: prices.title(price) for price in sold},
        invoices["has_more"],
    )


async def upcoming(visit: Visit, customer: str) -> list[Coming]:
    """Return the next invoice of each subscription that goes on, as usage has it now."""
    asked = [("customer", customer), ("limit", _SHOWN)]
    subscriptions = await visit.items(_SUBSCRIPTIONS, asked)
    going_on = [one for one in subscriptions if one["status"] in _UNDER_WAY]
    found = await asyncio.gather(*(_preview(visit, one) for one in going_on))
    who = await visit.get(f"/v1/customers/{path_part(customer)}") if any(found) else {}
    return [
        Coming(
            one,
            state(one, one["lines"]["data"], customer=who, more=_more(one)),
            list(thresholds(subscription, one)),
        )
        for subscription, one in zip(going_on, found, strict=True)
        if one
    ]


def thresholds(subscription: dict[str, Any], preview: dict[str, Any]) -> Iterator[Threshold]:
    """Yield how far a subscription is from its thresholds, by the whole of what comes next.

    Left out is an item of which an invoice has billed a part early: how much, no line tells.
    """
    if _more(preview):
        return
    items = [one for one in subscription["items"]["data"] if one["price"]["recurring"]["meter"]]
    lines: dict[str, list[dict[str, Any]]] = {one["id"]: [] for one in items}
    for line in preview["lines"]["data"]:
        details = line["parent"]["subscription_item_details"]
        if details and details["subscription_item"] in lines:
            lines[details["subscription_item"]].append(line)
    whole = subscription["billing_thresholds"]
    if whole and whole["amount_gte"] is not None:
        amount = sum(_owed(line) for own in lines.values() for line in own)
        yield Threshold(position(Decimal(amount), [Decimal(whole["amount_gte"])]), None)
    for one in items:
        own = lines[one["id"]]
        if one["billing_thresholds"] and all(line["amount"] >= 0 for line in own):
            used = sum((Decimal(line["quantity_decimal"]) for line in own), Decimal(0))
            gte = Decimal(one["billing_thresholds"]["usage_gte"])
            yield Threshold(position(used, [gte]), one["price"]["id"])


async def live(visit: Visit) -> Response:
    """Send what comes next again whenever usage has changed it."""
    if visit.live.full():
        raise ApiError(503, "Too many people look at once.")
    customer = visit.part("id")
    await visit.get(f"/v1/customers/{path_part(customer)}")  # else there is nothing to look at
    key = ("upcoming", visit.space, customer)

    async def part() -> str:
        return visit.render("_upcoming.html", upcoming=await upcoming(visit, customer))

    return event_stream(visit.request, visit.live.stream(key, part, visit.over()))


async def product_names(visit: Visit, ids: Iterable[str]) -> dict[str, str]:
    """Return what products are called."""
    unique = list(dict.fromkeys(ids))
    found = await asyncio.gather(*(visit.get(f"/v1/products/{path_part(id_)}") for id_ in unique))
    return {one["id"]: one.get("name") or one["id"] for one in found}


async def _preview(visit: Visit, subscription: dict[str, Any]) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await visit.post(_PREVIEW, [("subscription", subscription["id"])])
    except ApiError:  # nothing comes next
        return None
    return found


def _owed(line: dict[str, Any]) -> int:
    """Return what a line comes to after what credits pay of it."""
    return int(line["amount"] - sum(one["amount"] for one in line["pretax_credit_amounts"]))


def _more(invoice: dict[str, Any]) -> int:
    lines = invoice["lines"]
    return int(lines["total_count"] - len(lines["data"]))
