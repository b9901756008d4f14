"""`/invoice/…`: an invoice for whoever pays it, who has no account here.

Its address ends in the secret that the invoice was given when it was finalized, so nobody finds one
by guessing, and whoever was sent the address may look and print. It sets no cookie and reads none.
What is wrong with an address is not told: to a stranger all of them are no page.
"""

import hmac
from http import HTTPStatus
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from meterhouse.dashboard.client import Api, ApiError, Space, path_part
from meterhouse.dashboard.printer import Printer, read_statement

_MODES = {"live": True, "test": False}


class Hosted:
    """Shows finalized invoices to those who have their addresses."""

    def __init__(self, api: Api, templates: Environment, printer: Printer) -> None:
        self._api = api
        self._templates = templates
        self._printer = printer

    async def show(self, request: Request) -> Response:
        """Show an invoice."""
        try:
            space, invoice = await self._find(request)
            statement = await read_statement(self._api, space, invoice)
        except ApiError:
            return self._page("hosted_wrong.html", HTTPStatus.NOT_FOUND)
        secret = request.path_params["secret"]
        return self._page("hosted.html", HTTPStatus.OK, statement=statement, secret=secret)

    async def pdf(self, request: Request) -> Response:
        """Send an invoice as a PDF."""
        try:
            space, invoice = await self._find(request)
            statement = await read_statement(self._api, space, invoice)
        except ApiError:
            return self._page("hosted_wrong.html", HTTPStatus.NOT_FOUND)
        return await self._printer.answer(statement)

    async def _find(self, request: Request) -> tuple[Space, dict[str, Any]]:
        """Return the invoice whose address is asked for; raises `ApiError` where there is none."""
        account, mode, id_, secret = (
            request.path_params[name] for name in ("account", "mode", "id", "secret")
        )
        if mode not in _MODES or not account.isascii():  # a header names the account
            raise _NOWHERE
        space = Space(account, _MODES[mode])
        invoice: dict[str, Any] = await self._api.get(space, f"/v1/invoices/{path_part(id_)}")
        page = invoice["hosted_invoice_url"] or ""
        known = page.rpartition("/")[2]
        if not known or not hmac.compare_digest(known.encode(), secret.encode()):
            raise _NOWHERE
        return space, invoice

    def _page(self, template: str, status: int, **context: Any) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(**context), status)


_NOWHERE = ApiError(HTTPStatus.NOT_FOUND, "There is no such invoice.")
