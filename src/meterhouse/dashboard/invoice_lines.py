"""What stands behind a line of an invoice: its usage over time, by dimension, and its events."""

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard import chart, prices
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.question import USAGE_PATH, Question, api_pairs, drawn_by, windows
from meterhouse.dashboard.visit import Visit
from meterhouse.metering.window import MILLISECONDS, Window

_LINES = "/meterhouse/v1/invoice_lines/{}"
_SHOWN = 50
_MINUTE = MILLISECONDS["minute"]


async def show(visit: Visit) -> Response:
    """Show a line of usage; one of a quantity has nothing behind it but its price."""
    invoice = await visit.get(f"/v1/invoices/{path_part(visit.part('id'))}")
    line = await _line(visit, invoice)
    price = await _price(visit, line)
    context: dict[str, Any] = {
        "invoice": invoice,
        "line": line,
        "price": price,
        "called": price and prices.title(price),
        "meter": None,
    }
    meter_id = price and price["recurring"] and price["recurring"]["meter"]
    if meter_id:
        meter = await visit.get(f"/v1/billing/meters/{path_part(meter_id)}")
        keys = meter.get("dimension_payload_keys") or []
        group = visit.asked("group") if visit.asked("group") in keys else next(iter(keys), "")
        drawn, breakdown, events = await asyncio.gather(
            _draw(visit, invoice, line, meter),
            _breakdown(visit, invoice, line, group),
            _events(visit, invoice, line),
        )
        context |= drawn | {
            "meter": meter,
            "keys": keys,
            "group": group,
            "breakdown": breakdown,
            "events": events["data"],
            "more": events["has_more"],
        }
    return visit.page("invoice_line.html", here="billing", **context)


async def _line(visit: Visit, invoice: dict[str, Any]) -> dict[str, Any]:
    """Find the line on its invoice, page by page; raises `ApiError` where it is not on it."""
    wanted, found = visit.part("line"), invoice["lines"]
    path = f"/v1/invoices/{path_part(invoice['id'])}/lines"
    while True:
        for line in found["data"]:
            if line["id"] == wanted:
                one: dict[str, Any] = line
                return one
        if not found["has_more"]:
            raise ApiError(HTTPStatus.NOT_FOUND, "There is no such line on this invoice.")
        found = await visit.get(
            path, [("limit", limits.PAGE_LIMIT_MAX), ("starting_after", found["data"][-1]["id"])]
        )


async def _price(visit: Visit, line: dict[str, Any]) -> dict[str, Any] | None:
    details = (line["pricing"] or {}).get("price_details")
    if not details:
        return None
    found: dict[str, Any] = await visit.get(f"/v1/prices/{path_part(details['price'])}")
    return found


async def _draw(
    visit: Visit, invoice: dict[str, Any], line: dict[str, Any], meter: dict[str, Any]
) -> dict[str, Any]:
    """Return the chart of the period that the line is for, in whole minutes."""
    start, end = line["period"]["start"] * 1000, line["period"]["end"] * 1000
    whole = Window(start - start % _MINUTE, end + -end % _MINUTE)
    first, last = (datetime.fromtimestamp(at / 1000, UTC).date() for at in (start, end - 1))
    question = Question(
        meter=meter["id"], customer=invoice["customer"], range="custom", start=first, end=last
    )
    answer = await visit.get(USAGE_PATH, api_pairs(question, whole))
    built = chart.build(
        question,
        windows(question, whole),
        drawn_by(question, whole),
        answer["data"],
        now=visit.clock.now(),
        adds_up=meter["default_aggregation"]["formula"] != "last",
    )
    return {
        "chart": built,
        "drawing": chart.drawing(built, [None]),
        "usage": visit.at("usage", question.pairs()),
    }


async def _breakdown(
    visit: Visit, invoice: dict[str, Any], line: dict[str, Any], group: str
) -> dict[str, Any] | None:
    if not group:
        return None
    path = f"{_LINES.format(path_part(line['id']))}/breakdown"
    asked = [("group_by[0]", group), ("invoice", invoice["id"])]
    found: dict[str, Any] = await visit.get(path, asked)
    found["data"].sort(key=lambda row: -row["amount"])
    return found


async def _events(visit: Visit, invoice: dict[str, Any], line: dict[str, Any]) -> dict[str, Any]:
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    path = f"{_LINES.format(path_part(line['id']))}/events"
    found: dict[str, Any] = await visit.get(
        path, [("limit", _SHOWN), ("invoice", invoice["id"]), *after]
    )
    return found
