"""Signing in and out."""

import logging
from http import HTTPStatus

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from meterhouse import limits
from meterhouse.dashboard.address import Address
from meterhouse.dashboard.attempts import Attempts, TooManyError
from meterhouse.dashboard.client import ApiError
from meterhouse.dashboard.failures import Failures
from meterhouse.dashboard.form import read_form
from meterhouse.dashboard.known import Browsers
from meterhouse.dashboard.session import COOKIE, Sessions, Visitor
from meterhouse.dashboard.user_agent import shorten

log = logging.getLogger("meterhouse.signin")

_WRONG = "This name and password do not belong together."
_STALE = "This link has been used, or is too old. Start the server again for a new one, or sign in."
_DAY_SECONDS = 86_400


class SignIn:
    """Lets people in."""

    def __init__(
        self,
        sessions: Sessions,
        attempts: Attempts,
        failures: Failures,
        browsers: Browsers,
        templates: Environment,
        address: Address,
    ) -> None:
        self._sessions = sessions
        self._attempts = attempts
        self._failures = failures
        self._browsers = browsers
        self._templates = templates
        self._address = address

    async def ask(self, request: Request) -> Response:
        """Ask for name and password."""
        return self._page(request.query_params.get("next", ""))

    async def sign_in(self, request: Request) -> Response:
        """Take name and password, and give a cookie for them."""
        if "content-encoding" in request.headers:  # no browser packs a form
            raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "This form cannot be packed.")
        form = await read_form(request, limits.SIGN_IN_FORM_BYTES_MAX)
        name, password, next_ = (str(form.get(key, "")) for key in ("name", "password", "next"))
        client = self._address.client(request)
        if not _possible(name, password):
            return await self._refuse("", client, next_)
        known = await self._browsers.recognize(request.cookies, name)
        try:
            async with self._attempts.turn(name, client, known) as attempt:
                gone = await request.is_disconnected()
                visitor = self._visitor(request)
                cookie = None if gone else await self._sessions.sign_in(name, password, visitor)
        except TooManyError as refused:
            return self._come_again(next_, refused.seconds)
        if cookie is None:
            return await self._refuse(name, client, next_)
        attempt.forgive()
        log.info("%s signed in from %s", name, _told(client))
        answer = self._enter(request, cookie, self._within(next_))
        await self._remember(request, answer, name)
        return answer

    async def open(self, request: Request) -> Response:
        """Take the token of a link that signs in once; HEAD does not use it up."""
        if request.method == "HEAD":
            return self._page("")
        token = request.query_params.get("token", "")
        cookie = await self._sessions.open_link(token, self._visitor(request))
        if cookie is None:
            return self._page("", _STALE, HTTPStatus.UNAUTHORIZED)
        return self._enter(request, cookie, self._address.home)

    async def sign_out(self, request: Request) -> Response:
        """End the session, and take the cookie back."""
        await self._sessions.end(request.cookies.get(COOKIE), self._address.client(request))
        answer = RedirectResponse(f"{self._address.home}/sign-in", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, path=self._address.home)
        return answer

    def _page(self, next_: str, wrong: str = "", status: int = HTTPStatus.OK) -> Response:
        template = self._templates.get_template("sign_in.html")
        return HTMLResponse(template.render(next=self._within(next_), wrong=wrong), status)

    async def _refuse(self, name: str, client: str, next_: str) -> Response:
        log.warning("a sign-in from %s failed", _told(client))
        unnoted = self._failures.count(client)
        if unnoted is not None:
            await self._sessions.failed(name, client, unnoted)
        return self._page(next_, _WRONG, HTTPStatus.UNAUTHORIZED)

    def _come_again(self, next_: str, seconds: int) -> Response:
        wrong = f"There were too many attempts. Try again in {seconds} s."
        answer = self._page(next_, wrong, HTTPStatus.TOO_MANY_REQUESTS)
        answer.headers["retry-after"] = str(seconds)
        return answer

    def _visitor(self, request: Request) -> Visitor:
        browser = shorten(request.headers.get("user-agent", ""))
        return Visitor(self._address.client(request), browser, request.cookies.get(COOKIE, ""))

    def _within(self, path: str) -> str:
        """Return where to go after signing in: a page of the dashboard, nowhere else."""
        home = self._address.home
        ours = path.startswith(home + "/") and len(path) <= limits.SIGN_IN_NEXT_CHARS_MAX
        return path if ours else home

    def _enter(self, request: Request, cookie: str, page: str) -> Response:
        answer = RedirectResponse(page, HTTPStatus.SEE_OTHER)
        seconds = limits.DASHBOARD_SESSION_HOURS_MAX * 3_600
        self._set_cookie(request, answer, COOKIE, cookie, seconds, self._address.home)
        return answer

    async def _remember(self, request: Request, answer: Response, name: str) -> None:
        seconds = limits.SIGN_IN_KNOWN_DAYS * _DAY_SECONDS
        cookie, value = await self._browsers.remember(name)
        self._set_cookie(request, answer, cookie, value, seconds, f"{self._address.home}/sign-in")

    def _set_cookie(
        self, request: Request, answer: Response, name: str, value: str, seconds: int, path: str
    ) -> None:
        secure = self._address.secure(request)
        answer.set_cookie(
            name, value, seconds, path=path, secure=secure, httponly=True, samesite="lax"
        )


def _possible(name: str, password: str) -> bool:
    """Tell whether a user can have these; else nothing is counted or checked."""
    short = len(name) <= limits.USER_NAME_CHARS_MAX
    return short and name.isprintable() and len(password) <= limits.USER_PASSWORD_CHARS_MAX


def _told(client: str) -> str:
    return client or "the Unix socket"
