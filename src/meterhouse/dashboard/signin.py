"""Signing in and out."""

from http import HTTPStatus

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from meterhouse import limits
from meterhouse.dashboard.address import Address
from meterhouse.dashboard.attempts import Attempts
from meterhouse.dashboard.form import read_form
from meterhouse.dashboard.session import COOKIE, Sessions

_WRONG = "This name and password do not belong together."
_TOO_MANY = f"There were too many attempts. Try again in {limits.SIGN_IN_WINDOW_MINUTES} minutes."
_STALE = "This link has been used, or is too old. Start the server again for a new one, or sign in."


class Door:
    """Lets people in."""

    def __init__(
        self, sessions: Sessions, attempts: Attempts, templates: Environment, address: Address
    ) -> None:
        self._sessions = sessions
        self._address = address
        self._attempts = attempts
        self._templates = templates

    async def ask(self, request: Request) -> Response:
        """Ask for name and password."""
        return self._page(request.query_params.get("next", ""))

    async def sign_in(self, request: Request) -> Response:
        """Take name and password, and give a cookie for them."""
        form = await read_form(request)
        name, password, next_ = (str(form.get(key, "")) for key in ("name", "password", "next"))
        ip = request.client.host if request.client else ""
        if not self._attempts.admit(name, ip):
            return self._page(next_, _TOO_MANY, HTTPStatus.TOO_MANY_REQUESTS)
        async with self._attempts.checking:
            cookie = await self._sessions.sign_in(name, password)
        if cookie is None:
            return self._page(next_, _WRONG, HTTPStatus.UNAUTHORIZED)
        self._attempts.forgive(name)
        return self._enter(request, cookie, self._within(next_))

    async def open(self, request: Request) -> Response:
        """Take the token of a link that signs in once; HEAD does not use it up."""
        if request.method == "HEAD":
            return self._page("")
        cookie = self._sessions.open_link(request.query_params.get("token", ""))
        if cookie is None:
            return self._page("", _STALE, HTTPStatus.UNAUTHORIZED)
        return self._enter(request, cookie, self._address.home)

    async def sign_out(self, _: Request) -> Response:
        """Take the cookie back."""
        answer = RedirectResponse(f"{self._address.home}/sign-in", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, path=self._address.home)
        return answer

    def _page(self, next_: str, wrong: str = "", status: int = HTTPStatus.OK) -> Response:
        template = self._templates.get_template("sign_in.html")
        return HTMLResponse(template.render(next=next_, wrong=wrong), status)

    def _within(self, path: str) -> str:
        """Return where to go after signing in: a page of the dashboard, nowhere else."""
        home = self._address.home
        return path if path.startswith(home + "/") else home

    def _enter(self, request: Request, cookie: str, page: str) -> Response:
        answer = RedirectResponse(page, HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=limits.DASHBOARD_SESSION_HOURS_MAX * 3_600,
            path=self._address.home,
            secure=self._address.secure(request),
            httponly=True,
            samesite="lax",
        )
        return answer
