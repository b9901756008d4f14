"""One request of somebody who is signed in, and what a page is made of."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.dashboard import assets, show
from meterhouse.dashboard.address import Address
from meterhouse.dashboard.client import Api, ApiError, Asker, Pairs, Space, path_part
from meterhouse.dashboard.live import Live
from meterhouse.dashboard.printer import Printer
from meterhouse.dashboard.session import Session, Sessions
from meterhouse.dashboard.streaming import SignedOut
from meterhouse.gone import Receive
from meterhouse.watch import Watch

_NAVIGATION = (
    ("overview", "", "Overview"),
    ("usage", "usage", "Usage"),
    ("meters", "meters", "Meters"),
    ("customers", "customers", "Customers"),
    ("events", "events", "Events"),
    ("errors", "errors", "Errors"),
    ("billing", "billing/prices", "Billing"),
    ("developers", "developers/logs", "Developers"),
)


_EXACT = frozenset({"customer", "event_name", "identifier"})  # any text, with spaces at its ends


def environment(address: Address) -> Environment:
    """Return what renders templates: escaping always, and a name that is not there is an error."""
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= show.FILTERS
    made.globals["asset"] = lambda name: address.below(assets.url(name))
    made.globals["home"] = address.home
    return made


@dataclass(frozen=True, slots=True)
class Visit:
    """A request, who makes it, and the account and mode that it is about.

    `late_usage` is the setting of this name.
    """

    request: Request
    session: Session
    sessions: Sessions
    space: Space
    accounts: list[dict[str, Any]]
    api: Api
    printer: Printer
    live: Live
    watch: Watch
    clock: Clock
    templates: Environment
    address: Address
    late_usage: str
    form: FormData

    @property
    def now(self) -> int:
        """The present in unix seconds."""
        return self.clock.now() // 1000

    def over(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """Watch whether whoever looks is still signed in."""
        return self.watch.over(self.session.id)

    def bounded(self, receive: Receive) -> Receive:
        """Return a `receive` that raises `SignedOut` once whoever asks is signed out."""
        return self.watch.bounded(self.session.id, receive, SignedOut)

    def part(self, name: str) -> str:
        """Return a variable part of the path."""
        found: str = self.request.path_params[name]
        return found

    def named(self, name: str) -> str:
        """Return what the page is about: a part of the path, or a parameter, which can be any text.

        A browser takes `.` and `..` out of a path, however they are escaped.
        """
        return self.part(name) if name in self.request.path_params else self.asked(name)

    def asked(self, name: str, default: str = "") -> str:
        """Return a parameter of the query."""
        return self.request.query_params.get(name, default)

    def said(self, name: str) -> str:
        """Return a field of the form, without spaces around it."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def at(self, page: str = "", params: Pairs = (), **more: Any) -> str:
        """Return the path of a page of this account and mode."""
        pairs = [
            *params,
            *((name, value) for name, value in more.items() if value not in {"", None}),
        ]
        query = f"?{urlencode(pairs)}" if pairs else ""
        here = f"{self.address.home}/{self.space.account}/{self.space.mode}/{page}"
        return here.rstrip("/") + query

    @property
    def url(self) -> str:
        """The URL of the API, as whoever looks can reach it."""
        return self.address.url(self.request)

    async def get(self, path: str, params: Pairs = ()) -> Any:
        """Ask the API."""
        return await self.api.get(self.space, path, params)

    @property
    def client(self) -> str:
        """Where the browser is."""
        return self.address.client(self.request)

    @property
    def asker(self) -> Asker:
        """Who has this page do something."""
        return Asker(self.session.actor, self.client, self.address.local(self.request))

    async def post(self, path: str, form: Pairs = ()) -> Any:
        """Have the API change something, by a form."""
        return await self.api.post(self.asker, self.space, path, form)

    async def post_json(self, path: str, document: Any) -> Any:
        """Have the API change something, by a JSON document."""
        return await self.api.post_json(self.asker, self.space, path, document)

    async def delete(self, path: str) -> Any:
        """Have the API delete something."""
        return await self.api.delete(self.asker, self.space, path)

    async def items(self, path: str, params: Pairs = ()) -> list[dict[str, Any]]:
        """Ask the API for a list and return its items."""
        found: list[dict[str, Any]] = (await self.get(path, params))["data"]
        return found

    async def meters(self) -> list[dict[str, Any]]:
        """Return the meters, newest first, as far as one looks through them."""
        found: list[dict[str, Any]] = []
        while len(found) < limits.DASHBOARD_METER_ITEMS_MAX:
            after = [("starting_after", found[-1]["id"])] if found else []
            page = await self.get("/v1/billing/meters", [("limit", limits.PAGE_LIMIT_MAX), *after])
            found += page["data"]
            if not page["has_more"]:
                break
        return found

    async def names(self, customers: Iterable[str]) -> dict[str, str]:
        """Return what some customers are called; the id where one has no name."""
        ids = list(dict.fromkeys(customers))
        found = await asyncio.gather(*(self._name(id_) for id_ in ids))
        return dict(zip(ids, found, strict=True))

    async def _name(self, customer: str) -> str:
        try:
            told = await self.get(f"/v1/customers/{path_part(customer)}")
        except ApiError:
            return customer
        name: str = told.get("name") or told.get("email") or customer
        return name

    def render(self, template: str, **context: Any) -> str:
        """Render a template."""
        return self.templates.get_template(template).render(
            visit=self, session=self.session, navigation=_NAVIGATION, now=self.now, **context
        )

    def page(
        self, template: str, *, here: str, status: int = HTTPStatus.OK, **context: Any
    ) -> Response:
        """Answer with a page; `here` is where it stands in the navigation."""
        return HTMLResponse(self.render(template, here=here, **context), status)

    def go(self, page: str, **params: Any) -> Response:
        """Answer a change: look at a page."""
        return RedirectResponse(self.at(page, **params), HTTPStatus.SEE_OTHER)


def question(params: Mapping[str, str], names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the parameters that are not empty, of those that are named."""
    given = [(name, params.get(name, "")) for name in names]
    asked = [(name, text if name in _EXACT else text.strip()) for name, text in given]
    return [(name, text) for name, text in asked if text]
