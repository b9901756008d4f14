"""Who is signed in: a signed cookie, and a link that signs in once.

- The cookie names a user and when it was made; role and password are read anew with each request,
  so a user who is deleted, or whose password was changed, is signed out at once.
- A link is printed by `meterhouse serve --open-dashboard`. It works once, for a while, in test mode
  only; the session that it opens ends with the server.
- `csrf` comes with every change, in a form or in a header. Other sites cannot read it.
"""

import asyncio
import hmac
import secrets
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from itsdangerous import BadSignature, URLSafeSerializer

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.ledger import users
from meterhouse.stores import Stores

COOKIE = "meterhouse_session"
_TEST_ONLY = (
    "The link of --open-dashboard shows test data only. Make a user for live data: "
    "meterhouse users create NAME --role admin."
)
_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_APART = limits.CLOCK_APART_MINUTES_MAX * _MINUTE


class Ticket(msgspec.Struct, frozen=True):
    """What a cookie holds; `run` is the server's run that a link belongs to, else empty."""

    name: str
    at: int
    csrf: str
    run: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    name: str
    role: Literal["admin", "viewer"]
    csrf: str
    test_only: bool = False

    @property
    def may_change(self) -> bool:
        """Whether this user may change things."""
        return self.role == "admin"

    @property
    def refuses_live(self) -> str:
        """Say why this session shows no live data; empty where it does."""
        return _TEST_ONLY if self.test_only else ""

    def confirms(self, token: str) -> bool:
        """Tell whether a change comes from one of our own pages."""
        return hmac.compare_digest(token.encode(), self.csrf.encode())


class Sessions:
    """Makes and reads the cookies of this installation."""

    def __init__(self, stores: Stores, clock: Clock, secret: bytes) -> None:
        self._stores = stores
        self._clock = clock
        self._signer = URLSafeSerializer(secret, salt="meterhouse.dashboard")
        self._run = secrets.token_urlsafe(8)
        self._link: tuple[str, int] | None = None

    def make_link(self) -> str:
        """Return the token of a link that signs in once; the one before no longer does."""
        self._link = (secrets.token_urlsafe(24), self._clock.now())
        return self._link[0]

    def open_link(self, token: str) -> str | None:
        """Return the cookie that a link gives; None when it does not hold, or no longer."""
        link, now = self._link, self._clock.now()
        if link is None or not hmac.compare_digest(token.encode(), link[0].encode()):
            return None
        self._link = None
        if now > link[1] + limits.DASHBOARD_LINK_MINUTES_MAX * _MINUTE:
            return None
        return self._cookie("operator", self._run)

    async def sign_in(self, name: str, password: str) -> str | None:
        """Return the cookie of the user with this password; None when nobody has both."""
        kept = await self._stores.read(users.find_hash, name)
        matched = await asyncio.to_thread(users.matches, kept, password)
        return self._cookie(name) if matched else None

    async def read(self, cookie: str | None) -> Session | None:
        """Return whose cookie it is; None when it does not hold."""
        ticket = self._ticket(cookie)
        if ticket is None:
            return None
        if ticket.run:
            known = hmac.compare_digest(ticket.run, self._run)
            return Session(ticket.name, "admin", ticket.csrf, test_only=True) if known else None
        user = await self._stores.ask_ledger("look_up", users.find_user, ticket.name)
        if user is None or user.password_set_at > ticket.at:
            return None
        return Session(user.name, user.role, ticket.csrf)

    def _ticket(self, cookie: str | None) -> Ticket | None:
        try:
            held: Any = self._signer.loads(cookie or "")
            ticket = msgspec.convert(held, Ticket)
        except (BadSignature, msgspec.ValidationError):
            return None
        age = self._clock.now() - ticket.at
        # One from the future was made by a clock that was ahead.
        fresh = -_APART <= age <= limits.DASHBOARD_SESSION_HOURS_MAX * _HOUR
        return ticket if fresh else None

    def _cookie(self, name: str, run: str = "") -> str:
        ticket = Ticket(name, self._clock.now(), secrets.token_urlsafe(16), run)
        signed: str | bytes = self._signer.dumps(msgspec.to_builtins(ticket))
        return signed if isinstance(signed, str) else signed.decode()
