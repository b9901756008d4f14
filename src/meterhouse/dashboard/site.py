"""The dashboard's ASGI application: its paths on one page, and what guards them.

What a reader may rely on:

- A page is about one account in one mode, as its path says. Where a user is not to see that account
  or mode, nothing is read or done, whatever the row. No page names an account that is not theirs.
- Whoever is not signed in is sent to the sign-in page, from every path but that of an asset, an
  embedded chart, an invoice's own address, and signing in.
- A change needs an admin, a token that only our own pages know, and comes from our own origin. A
  viewer may change what is their own: their sessions.
- Every answer forbids scripts and styles that are not ours. Only an embedded chart may be framed,
  where the setting `embed_origins` says so. Pages are kept by no cache.
- What goes wrong is a page with a sentence; a traceback goes to the log.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.datastructures import FormData, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.dashboard import (
    alert,
    assets,
    audit,
    billing,
    clocks,
    credit,
    customers,
    developers,
    embed,
    events,
    hosted,
    invoice_lines,
    invoices,
    late,
    meters,
    overview,
    own_sessions,
    prices,
    rejections,
    revenue,
    signin,
    usage,
    what_if,
)
from meterhouse.dashboard.address import Address
from meterhouse.dashboard.attempts import Attempts
from meterhouse.dashboard.client import Api, ApiError, Asgi, Space, path_part
from meterhouse.dashboard.failures import Failures
from meterhouse.dashboard.form import read_form
from meterhouse.dashboard.known import Browsers
from meterhouse.dashboard.live import Live
from meterhouse.dashboard.printer import Printer
from meterhouse.dashboard.session import COOKIE, Session, Sessions
from meterhouse.dashboard.visit import Visit, environment
from meterhouse.gone import Disconnected, until_gone
from meterhouse.signing import Signing
from meterhouse.stores import Stores
from meterhouse.watch import Watch

log = logging.getLogger("meterhouse.dashboard")

Handler = Callable[[Visit], Awaitable[Response]]

_INVOICE = "/invoice/{account}/{mode}/{id}/{secret}"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-hashes' {plotly}; "
    "img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Row(NamedTuple):
    """A page (GET) or a change (POST) below `/dashboard/<account>/<mode>`.

    `own` is what concerns nobody but the user, so that a viewer may change it, too.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    own: bool = False


ROWS: tuple[Row, ...] = (
    Row("GET", "", overview.show),
    Row("GET", "/live/overview", overview.live),
    Row("GET", "/usage", usage.show),
    Row("GET", "/usage.csv", usage.download_csv),
    Row("GET", "/usage.parquet", usage.download_parquet),
    Row("GET", "/meters", meters.list_),
    Row("POST", "/meters", meters.create),
    Row("GET", "/meters/{id}", meters.show),
    Row("POST", "/meters/{id}/rename", meters.rename),
    Row("POST", "/meters/{id}/deactivate", meters.deactivate),
    Row("POST", "/meters/{id}/reactivate", meters.reactivate),
    Row("GET", "/customers", customers.list_),
    Row("GET", "/customer", customers.show),
    Row("GET", "/customers/{id}", customers.show),
    Row("GET", "/events", events.list_),
    Row("GET", "/live/events", events.live),
    Row("GET", "/event", events.show),
    Row("GET", "/events/{identifier:path}", events.show),
    Row("GET", "/errors", rejections.list_),
    Row("GET", "/errors/resend", rejections.prepare),
    Row("POST", "/errors/resend", rejections.resend),
    Row("GET", "/errors/resends/{id}", rejections.result),
    Row("GET", "/billing/prices", prices.list_),
    Row("POST", "/billing/prices", prices.create),
    Row("GET", "/billing/prices/{id}", prices.show),
    Row("POST", "/billing/prices/{id}/{change}", prices.change),
    Row("GET", "/billing/invoices", invoices.list_),
    Row("GET", "/billing/invoices/{id}", invoices.show),
    Row("GET", "/billing/invoices/{id}/pdf", invoices.pdf),
    Row("GET", "/billing/invoices/{id}/lines/{line}", invoice_lines.show),
    Row("POST", "/billing/invoices/{id}/{change}", invoices.change),
    Row("GET", "/billing/alerts", alert.list_),
    Row("POST", "/billing/alerts", alert.create),
    Row("GET", "/billing/alerts/{id}", alert.show),
    Row("POST", "/billing/alerts/{id}/{change}", alert.change),
    Row("GET", "/billing/credits", credit.list_),
    Row("POST", "/billing/credits", credit.create),
    Row("GET", "/billing/credits/{id}", credit.show),
    Row("POST", "/billing/credits/{id}/{change}", credit.change),
    Row("GET", "/billing/late", late.show),
    Row("GET", "/billing/revenue", revenue.show),
    Row("GET", "/billing/what-if", what_if.show),
    Row("GET", "/billing/clocks", clocks.list_),
    Row("POST", "/billing/clocks", clocks.create),
    Row("GET", "/billing/clocks/{id}", clocks.show),
    Row("POST", "/billing/clocks/{id}/advance", clocks.advance),
    Row("POST", "/billing/clocks/{id}/delete", clocks.delete),
    Row("GET", "/live/upcoming/{id}", billing.live),
    Row("GET", "/developers/logs", developers.logs),
    Row("GET", "/developers/destinations", developers.destinations),
    Row("POST", "/developers/destinations", developers.create_destination),
    Row("GET", "/developers/destinations/{id}", developers.destination),
    Row("POST", "/developers/destinations/{id}/{change}", developers.change_destination),
    Row("POST", "/developers/deliveries/{id}/redeliver", developers.redeliver),
    Row("GET", "/developers/keys", developers.keys),
    Row("POST", "/developers/keys", developers.create_key),
    Row("POST", "/developers/keys/{id}/revoke", developers.revoke_key),
    Row("GET", "/developers/audit", audit.list_),
    Row("GET", "/developers/audit.csv", audit.download),
    Row("GET", "/sessions", own_sessions.list_, own=True),
    Row("POST", "/sessions/end", own_sessions.end_all, own=True),
    Row("POST", "/sessions/{id}/end", own_sessions.end, own=True),
)


async def _answer_nobody(_: Request, __: Exception) -> Response:
    return Response()


# A browser that goes away in the middle of its form, or of an answer, is no failure.
_GONE: Mapping[Any, ExceptionHandler] = {
    ClientDisconnect: _answer_nobody,
    Disconnected: _answer_nobody,
}


class Dashboard:
    """Answers everything below `/dashboard`, `/embed` and `/invoice`."""

    def __init__(
        self,
        api: Asgi,
        operator_token: str,
        stores: Stores,
        clock: Clock,
        signing: Signing,
        config: Config,
    ) -> None:
        self.sessions = Sessions(stores, clock)
        self.api = Api(api, operator_token)
        self.live = Live()
        self.watch = Watch(self.sessions.still_held, limits.DASHBOARD_SESSION_LOOK_SECONDS)
        self.clock = clock
        self.address = Address(config.trusted_proxies, config.base_path)
        self.templates = environment(self.address)
        self.printer = Printer(config.invoice_fonts)
        self.late_usage = config.late_usage
        self._signing = signing
        self._attempts = Attempts(clock)
        self._sign_in = signin.SignIn(
            self.sessions,
            self._attempts,
            Failures(clock),
            Browsers(clock, signing),
            self.templates,
            self.address,
        )
        app = Starlette(routes=self._routes(), exception_handlers=_GONE)
        self._app = _guarded(app, config.embed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)

    def open_path(self) -> str:
        """Return the path of a link that signs in once."""
        return f"{self.address.home}/open?token={self.sessions.make_link()}"

    def end(self) -> None:
        """Send those away who look at something live, or wait to sign in: the server stops."""
        self._attempts.end()
        self.live.end()

    def _routes(self) -> list[Route]:
        sign_in = self._sign_in
        page = hosted.Hosted(self.api, self.templates, self.printer)
        frame = embed.Frame(self.api, self.clock, self.templates, self._signing)
        routes = [
            Route("/dashboard/static/{name}", assets.serve),
            Route("/dashboard/sign-in", sign_in.ask, methods=["GET"]),
            Route("/dashboard/sign-in", self._from_here(sign_in.sign_in), methods=["POST"]),
            Route("/dashboard/open", sign_in.open),
            Route("/dashboard/sign-out", self._from_here(sign_in.sign_out), methods=["POST"]),
            Route("/dashboard", self._home),
            Route("/dashboard/", self._home),
            Route("/embed/usage", frame.show),
            Route(_INVOICE, page.show),
            Route(f"{_INVOICE}/pdf", page.pdf),
        ]
        space = "/dashboard/{account}/{mode}"
        return (
            routes
            + [Route(space + row.path, self._page(row), methods=[row.method]) for row in ROWS]
            + [Route("/dashboard/{rest:path}", self._nothing)]
        )

    def _from_here(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            foreign = self.address.foreign(request)
            if foreign:
                return self._sorry(HTTPStatus.FORBIDDEN, foreign)
            try:
                return await answer(request)
            except ApiError as error:
                return self._sorry(error.status, str(error))

        return guarded

    async def _home(self, request: Request) -> Response:
        session = await self.sessions.read(request.cookies.get(COOKIE))
        if session is None:
            return self._to_sign_in(request)
        first = session.accounts[0] if session.accounts else await self._default_account()
        space = Space(first, livemode=bool(session.livemode))
        here = f"{self.address.home}/{space.account}/{space.mode}"
        return RedirectResponse(here, HTTPStatus.SEE_OTHER)

    async def _default_account(self) -> str:
        found: str = (await self.api.get(Space("", livemode=False), "/v1/account"))["id"]
        return found

    async def _nothing(self, request: Request) -> Response:
        if await self.sessions.read(request.cookies.get(COOKIE)) is None:
            return self._to_sign_in(request)
        return self._sorry(HTTPStatus.NOT_FOUND, "There is no such page.")

    def _page(self, row: Row) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            session = await self.sessions.read(request.cookies.get(COOKIE))
            if session is None:
                return self._to_sign_in(request)
            try:
                form = await read_form(request) if row.method == "POST" else FormData()
                space = _space(request)
                refused = session.refuses(space) or self._refused(row, request, session, form)
                if refused:
                    return self._sorry(HTTPStatus.FORBIDDEN, refused)
                answering = row.handler(await self._visit(request, session, space, form))
                return await until_gone(request.receive if row.method == "GET" else None, answering)
            except ApiError as error:
                return self._sorry(error.status, str(error))

        return answer

    async def _accounts(self, session: Session, space: Space) -> list[dict[str, Any]]:
        """Return the accounts that somebody may choose from."""
        path = "/meterhouse/v1/accounts"
        found: list[dict[str, Any]]
        if session.accounts is None:
            first = [("limit", limits.PAGE_LIMIT_MAX)]
            found = (await self.api.get(space, path, first))["data"]
        else:
            own = (self.api.get(space, f"{path}/{path_part(one)}") for one in session.accounts)
            found = await asyncio.gather(*own)
        return found

    async def _visit(
        self, request: Request, session: Session, space: Space, form: FormData
    ) -> Visit:
        accounts = await self._accounts(session, space)
        return Visit(
            request,
            session,
            self.sessions,
            space,
            accounts,
            self.api,
            self.printer,
            self.live,
            self.watch,
            self.clock,
            self.templates,
            self.address,
            self.late_usage,
            form,
        )

    def _refused(self, row: Row, request: Request, session: Session, form: FormData) -> str | None:
        """Say why a request is refused, if it is."""
        if row.method == "GET":
            return None
        foreign = self.address.foreign(request)
        if foreign:
            return foreign
        if not session.confirms(str(form.get("csrf") or request.headers.get("x-csrf-token", ""))):
            return _FORGED
        may = session.may_change or row.own
        return None if may else "A viewer may look, but not change anything."

    def _to_sign_in(self, request: Request) -> Response:
        if request.method == "POST" or "text/event-stream" in request.headers.get("accept", ""):
            return PlainTextResponse("Sign in first.", HTTPStatus.UNAUTHORIZED)
        query = f"?{request.url.query}" if request.url.query else ""
        here = quote(self.address.below(request.url.path) + query)
        here = here if len(here) <= limits.SIGN_IN_NEXT_CHARS_MAX else ""
        return RedirectResponse(f"{self.address.home}/sign-in?next={here}", HTTPStatus.SEE_OTHER)

    def _sorry(self, status: int, sentence: str) -> Response:
        return sorry(self.templates, status, sentence)


def _space(request: Request) -> Space:
    """Return the account and the mode that a path is about."""
    account, mode = request.path_params["account"], request.path_params["mode"]
    if mode not in {"live", "test"} or not account.isascii():  # a header names the account
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such page.")
    return Space(account, livemode=mode == "live")


_FORGED = "This form is of no page of your session, so nothing was done. Load the page again."


def sorry(templates: Environment, status: int, sentence: str) -> Response:
    """Return a page that says why there is nothing to see."""
    page = templates.get_template("sorry.html").render(status=status, sentence=sentence)
    return HTMLResponse(page, status)


@cache
def _policy(ancestors: str) -> str:
    """Return the security policy of pages that `ancestors` may frame."""
    return POLICY.format(plotly=assets.plotly_styles(), ancestors=ancestors)


def _guarded(app: ASGIApp, origins: str) -> ASGIApp:
    """Add the headers that every answer has, and turn a failure into a sentence."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                framed = scope["path"].startswith("/embed/")
                ancestors = (origins or "'self'") if framed else "'none'"
                headers["content-security-policy"] = _policy(ancestors)
                headers.setdefault("cache-control", "no-store")
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            await app(scope, receive, send_with_headers)
        except Exception:
            log.exception("a page failed")
            if not begun:
                sentence = PlainTextResponse("Something went wrong; the log tells what.", 500)
                await sentence(scope, receive, send_with_headers)

    return guarded
