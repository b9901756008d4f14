"""Customers: search, and one of them with all of its usage."""

import asyncio
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard import alert, billing, credit, usage
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.question import read_question, span
from meterhouse.dashboard.visit import Visit

_PATH = "/v1/customers"
_SEARCH = "/meterhouse/v1/customers"
_SHOWN = 50
_RECENT = 10


async def list_(visit: Visit) -> Response:
    """List customers, or those of whose id, email, name or description a part is given."""
    text = visit.asked("q").strip()
    narrowed = [("text", text)] if text else []
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    page = await visit.get(_SEARCH, [("limit", _SHOWN), *narrowed, *after])
    return visit.page(
        "customers.html",
        here="customers",
        customers=page["data"],
        more=page["has_more"],
        text=text,
    )


async def show(visit: Visit) -> Response:
    """Show a customer: a chart, the totals of every meter, the latest events, what is billed.

    Where it has credit, what is left of that is shown, too, and where it stands with alerts.
    """
    id_ = visit.named("id")
    customer, meters = await asyncio.gather(visit.get(f"{_PATH}/{path_part(id_)}"), visit.meters())
    if customer.get("deleted"):
        raise ApiError(HTTPStatus.NOT_FOUND, f"The customer '{id_}' is deleted.")
    drawing = usage.section(visit, meters, f"customers/{id_}", customer=id_)
    if visit.request.headers.get("x-fragment"):
        return visit.page("_usage.html", here="customers", **await drawing)
    question = read_question(visit.request.query_params.multi_items())
    whole = span(question, visit.clock.now())
    found, totals, events, bills, upcoming, (credits_, alerts) = await asyncio.gather(
        drawing,
        _totals(visit, id_, meters, whole.start // 1000, whole.end // 1000),
        visit.items("/meterhouse/v1/meter_events", [("customer", id_), ("limit", _RECENT)]),
        billing.of_customer(visit, id_),
        billing.upcoming(visit, id_),
        asyncio.gather(credit.of_customer(visit, id_), alert.of_customer(visit, id_)),
    )
    return visit.page(
        "customer.html",
        here="customers",
        customer=customer,
        totals=totals,
        events=events,
        bills=bills,
        upcoming=upcoming,
        credit=credits_,
        alerts=alerts,
        **found,
    )


async def _totals(
    visit: Visit, customer: str, meters: list[dict[str, Any]], start: int, end: int
) -> list[tuple[dict[str, Any], Any]]:
    """Return how much of each meter a customer used."""
    size = limits.METER_USAGE_METERS_ITEMS_MAX
    chunks = [meters[at : at + size] for at in range(0, len(meters), size)]
    base = [("starts_at", start), ("ends_at", end), ("customer", customer)]
    answers = await asyncio.gather(
        *(
            visit.items(
                "/v1/billing/analytics/meter_usage",
                base + [(f"meters[{n}][meter]", one["id"]) for n, one in enumerate(chunk)],
            )
            for chunk in chunks
        )
    )
    used = {row["meter"]: row["value"] for rows in answers for row in rows}
    return [(one, used[one["id"]]) for one in meters if used[one["id"]]]
