"""Reads what an invoice says from the API, and prints it as a PDF."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard.client import Api, Space, path_part
from meterhouse.dashboard.invoice_pdf import print_pdf
from meterhouse.dashboard.statement import Statement, state


async def read_statement(api: Api, space: Space, invoice: dict[str, Any]) -> Statement:
    """Return what an invoice of the API says; raises `ApiError`."""
    lines, customer = await asyncio.gather(
        _lines(api, space, invoice),
        api.get(space, f"/v1/customers/{path_part(invoice['customer'])}"),
    )
    return state(
        invoice,
        lines,
        customer=customer,
        more=invoice["lines"]["total_count"] - len(lines),
    )


async def _lines(api: Api, space: Space, invoice: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    path = f"/v1/invoices/{path_part(invoice['id'])}/lines"
    while len(found) < limits.STATEMENT_LINES_MAX:
        size = min(limits.PAGE_LIMIT_MAX, limits.STATEMENT_LINES_MAX - len(found))
        after = [("starting_after", found[-1]["id"])] if found else []
        page = await api.get(space, path, [("limit", size), *after])
        found += page["data"]
        if not page["has_more"]:
            break
    return found


class Printer:
    """Prints one PDF at a time, beside the event loop: it takes the time of many answers."""

    def __init__(self, fonts: Sequence[Path]) -> None:
        self._fonts = fonts
        self._free = asyncio.Semaphore()

    async def answer(self, statement: Statement) -> Response:
        """Answer with the PDF of an invoice, as a file to keep."""
        async with self._free:
            pdf = await asyncio.to_thread(print_pdf, statement, self._fonts)
        name = quote(f"invoice-{statement.title}.pdf", safe="")
        headers = {"content-disposition": f"attachment; filename*=utf-8''{name}"}
        return Response(pdf, media_type="application/pdf", headers=headers)
