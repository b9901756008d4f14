"""What a customer is billed: subscriptions, what comes next as usage has it now, and invoices."""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from starlette.responses import Response

from meterhouse.dashboard import prices
from meterhouse.dashboard.client import ApiError, path_part
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


async def upcoming(visit: Visit, customer: str) -> list[tuple[dict[str, Any], Statement]]:
    """Return the next invoice of each subscription that goes on, as usage has it now."""
    asked = [("customer", customer), ("limit", _SHOWN)]
    subscriptions = await visit.items(_SUBSCRIPTIONS, asked)
    going_on = [one for one in subscriptions if one["status"] in _UNDER_WAY]
    found = await asyncio.gather(*(_preview(visit, one) for one in going_on))
    who = await visit.get(f"/v1/customers/{path_part(customer)}") if any(found) else {}
    return [
        (one, state(one, one["lines"]["data"], customer=who, more=_more(one)))
        for one in found
        if one
    ]


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


def _more(invoice: dict[str, Any]) -> int:
    lines = invoice["lines"]
    return int(lines["total_count"] - len(lines["data"]))
