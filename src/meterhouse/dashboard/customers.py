"""Customers: search, and one of them with all of its usage."""

import asyncio
from typing import Any

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard import usage
from meterhouse.dashboard.client import path_part
from meterhouse.dashboard.question import read_question, span
from meterhouse.dashboard.visit import Visit

_PATH = "/v1/customers"
_RECENT = 10


async def list_(visit: Visit) -> Response:
    """List customers, or those whose id, email or name is searched for."""
    term = visit.asked("q").strip()
    if term.startswith("cus_"):
        return visit.go(f"customers/{path_part(term)}")
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    if not term or "@" in term:
        by_email = [("email", term)] if term else []
        page = await visit.get(_PATH, [("limit", 50), *by_email, *after])
        found, more, looked = page["data"], page["has_more"], True
    else:
        (found, looked), more = await _search(visit, term.casefold()), False
    return visit.page(
        "customers.html", here="customers", customers=found, more=more, term=term, looked=looked
    )


async def show(visit: Visit) -> Response:
    """Show a customer: a chart, the totals of every meter, the latest events."""
    id_ = visit.part("id")
    customer, meters = await asyncio.gather(visit.get(f"{_PATH}/{path_part(id_)}"), visit.meters())
    found = await usage.section(visit, meters, f"customers/{id_}", customer=id_)
    if visit.request.headers.get("x-fragment"):
        return visit.page("_usage.html", here="customers", **found)
    question = read_question(visit.request.query_params.multi_items())
    whole = span(question, visit.clock.now())
    totals, events = await asyncio.gather(
        _totals(visit, id_, meters, whole.start // 1000, whole.end // 1000),
        visit.items("/meterhouse/v1/meter_events", [("customer", id_), ("limit", _RECENT)]),
    )
    return visit.page(
        "customer.html", here="customers", customer=customer, totals=totals, events=events, **found
    )


async def _search(visit: Visit, term: str) -> tuple[list[dict[str, Any]], bool]:
    """Look through the newest customers; tell whether these were all."""
    found: list[dict[str, Any]] = []
    after: list[tuple[str, Any]] = []
    for _ in range(limits.DASHBOARD_CUSTOMER_PAGES_MAX):
        page = await visit.get(_PATH, [("limit", limits.PAGE_LIMIT_MAX), *after])
        found += [
            one
            for one in page["data"]
            if term in (one.get("name") or "").casefold()
            or term in (one.get("description") or "").casefold()
        ]
        if not page["has_more"]:
            return found, True
        after = [("starting_after", page["data"][-1]["id"])]
    return found, False


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
                "/meterhouse/v1/usage",
                base + [(f"meters[{n}][meter]", one["id"]) for n, one in enumerate(chunk)],
            )
            for chunk in chunks
        )
    )
    used = {row["meter"]: row["value"] for rows in answers for row in rows}
    return [(one, used[one["id"]]) for one in meters if one["id"] in used]
