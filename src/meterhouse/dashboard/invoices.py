"""Invoices: the list, one of them as it is printed, what stands behind a line, and changes."""

import asyncio
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.printer import read_statement
from meterhouse.dashboard.visit import Visit, question

_PATH = "/v1/invoices"
_PAGE = "billing/invoices"
_SHOWN = 50
_FILTERS = ("customer", "status", "subscription")
STATUSES = ("draft", "open", "paid", "uncollectible", "void")
_CHANGES: dict[str, list[tuple[str, str]]] = {
    "finalize": [],
    "pay": [("paid_out_of_band", "true")],
    "void": [],
    "mark_uncollectible": [],
}
# What can be done to an invoice, by its status: the change, what the button says, the question.
ACTIONS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "draft": (("finalize", "Finalize", "Finalize this invoice? It never changes after that."),),
    "open": (
        ("pay", "Paid elsewhere", "Was this invoice paid, outside of Meterhouse?"),
        ("mark_uncollectible", "Uncollectible", "Will this invoice never be paid?"),
        ("void", "Void", "Void this invoice? It counts no more, for good."),
    ),
    "uncollectible": (
        ("pay", "Paid elsewhere", "Was this invoice paid, outside of Meterhouse?"),
        ("void", "Void", "Void this invoice? It counts no more, for good."),
    ),
}


async def list_(visit: Visit) -> Response:
    """List invoices, newest first."""
    asked = question(visit.request.query_params, _FILTERS)
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    wrong = ""
    try:
        page = await visit.get(_PATH, [("limit", _SHOWN), *asked, *after])
    except ApiError as error:
        page, wrong = {"data": [], "has_more": False}, str(error)
    return visit.page(
        "invoices.html",
        here="billing",
        invoices=page["data"],
        more=page["has_more"],
        names=await visit.names(one["customer"] for one in page["data"]),
        kept=asked,
        asked=dict(asked),
        statuses=STATUSES,
        wrong=wrong,
    )


async def show(visit: Visit) -> Response:
    """Show an invoice as it is printed."""
    return await _show(visit)


async def pdf(visit: Visit) -> Response:
    """Send an invoice as a PDF."""
    invoice = await _invoice(visit)
    return await visit.printer.answer(await read_statement(visit.api, visit.space, invoice))


async def change(visit: Visit) -> Response:
    """Finalize an invoice, or say what became of it."""
    what = visit.part("change")
    if what not in _CHANGES:
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such page.")
    id_ = path_part(visit.part("id"))
    try:
        await visit.post(f"{_PATH}/{id_}/{what}", _CHANGES[what])
    except ApiError as error:
        return await _show(visit, str(error))
    return visit.go(f"{_PAGE}/{id_}")


async def _show(visit: Visit, wrong: str = "") -> Response:
    invoice = await _invoice(visit)
    statement, names = await asyncio.gather(
        read_statement(visit.api, visit.space, invoice), visit.names([invoice["customer"]])
    )
    return visit.page(
        "invoice.html",
        here="billing",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        invoice=invoice,
        statement=statement,
        name=names[invoice["customer"]],
        actions=ACTIONS.get(invoice["status"], ()),
        opens=lambda line: visit.at(f"{_PAGE}/{invoice['id']}/lines/{path_part(line)}"),
        wrong=wrong,
    )


async def _invoice(visit: Visit) -> dict[str, Any]:
    found: dict[str, Any] = await visit.get(f"{_PATH}/{path_part(visit.part('id'))}")
    return found
