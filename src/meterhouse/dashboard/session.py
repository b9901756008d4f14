"""Who is signed in: a session in the ledger, and a link that signs in once.

- A cookie holds a random token, the ledger its digest, so a session ends for good where it is kept.
  What its user may do is read anew with each request.
- A link is printed by `meterhouse serve --open-dashboard`. It works once, for a while, in test mode
  only; the session that it opens ends with the server, or with the last of several.
- `csrf` comes with every change, in a form or in a header. Other sites cannot read it. It follows
  from the token, which nobody can tell from it.
"""

import asyncio
import hmac
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse import limits, masking
from meterhouse.clock import Clock
from meterhouse.dashboard.client import Space
from meterhouse.errors import StoreError
from meterhouse.ledger import audit, dashboard_sessions, nodes, users
from meterhouse.ledger.audit import Actor, Change, Origin
from meterhouse.ledger.dashboard_sessions import DashboardSession
from meterhouse.ledger.users import Role
from meterhouse.stores import Stores
from meterhouse.wire.credentials import digest
from meterhouse.wire.ids import new_token

log = logging.getLogger("meterhouse.dashboard")

COOKIE = "meterhouse_session"
_OPERATOR = "operator"  # what somebody is called whom a link has let in
_TEST_ONLY = (
    "The link of --open-dashboard shows test data only. Make a user for live data: "
    "meterhouse users create NAME --role admin."
)
_NO_ACCOUNT = "You have no access to account '{}' (or that account does not exist)."
_ANYBODY = Actor("anonymous", None, "anonymous")
_ENDED = "dashboard_session.ended"
_MINUTE = 60_000
_LASTING = limits.DASHBOARD_SESSION_HOURS_MAX * 60 * _MINUTE
_APART = limits.CLOCK_APART_MINUTES_MAX * _MINUTE
_SEEN = limits.DASHBOARD_SESSION_SEEN_SECONDS * 1_000


class Visitor(NamedTuple):
    """What is kept of whoever signs in: the address, and what the browser is called in short.

    `former` is the cookie that the browser had before, whose session ends.
    """

    address: str
    browser: str
    former: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in; `user` is None where a link has let them in.

    `accounts` and `livemode` are what a user is bound to; None is all accounts, and both modes.
    """

    id: str
    user: str | None
    role: Role
    accounts: Sequence[str] | None
    livemode: bool | None
    csrf: str

    @property
    def name(self) -> str:
        """What this one is called."""
        return _OPERATOR if self.user is None else self.user

    @property
    def actor(self) -> Actor:
        """Who this is to the audit log; whoever had the link is the operator."""
        return _actor(self.user)

    @property
    def may_change(self) -> bool:
        """Whether this user may change things."""
        return self.role == "admin"

    @property
    def unbound(self) -> bool:
        """Whether this user sees all accounts in both modes, and so the installation as a whole."""
        return self.accounts is None and self.livemode is None

    @property
    def hint(self) -> str:
        """Say how to see live data, where a link has let somebody in who may make a user."""
        return _TEST_ONLY if self.user is None else ""

    def refuses(self, space: Space) -> str:
        """Say why this one does not see an account in a mode; empty where they do.

        An account that does not exist is refused by the same words.
        """
        if self.accounts is not None and space.account not in self.accounts:
            return _NO_ACCOUNT.format(space.account)
        if self.livemode is not None and self.livemode != space.livemode:
            return self.hint or f"You see {'live' if self.livemode else 'test'} data only."
        return ""

    def confirms(self, token: str) -> bool:
        """Tell whether a change comes from one of our own pages."""
        return hmac.compare_digest(token.encode(), self.csrf.encode())


class Sessions:
    """Makes, reads and ends the sessions of this installation."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._stores = stores
        self._clock = clock
        self._link: tuple[str, int] | None = None

    async def start(self) -> None:
        """End what links of earlier runs have opened, unless another server runs."""
        if self._stores.shared and len(await self._stores.read(nodes.live, ("all", "api"))) > 1:
            return
        await self._stores.write(_end_all, audit.system(self._clock.now()), None)

    def make_link(self) -> str:
        """Return the token of a link that signs in once; the one before no longer does."""
        self._link = (new_token(masking.DASHBOARD_LINK), self._clock.now())
        return self._link[0]

    async def open_link(self, token: str, visitor: Visitor) -> str | None:
        """Return the cookie that a link gives; None when it does not hold, or no longer."""
        link, now = self._link, self._clock.now()
        if link is None or not hmac.compare_digest(token.encode(), link[0].encode()):
            return None
        self._link = None
        if now > link[1] + limits.DASHBOARD_LINK_MINUTES_MAX * _MINUTE:
            return None
        return await self._begin(None, visitor)

    async def sign_in(self, name: str, password: str, visitor: Visitor) -> str | None:
        """Return the cookie of the user with this password; None when nobody has both."""
        kept = await self._stores.read(users.find_hash, name)
        if not await asyncio.to_thread(users.matches, kept, password) or kept is None:
            return None
        return await self._begin((name, kept), visitor)

    async def read(self, cookie: str | None) -> Session | None:
        """Return whose cookie it is; None when it does not hold."""
        if not cookie:
            return None
        found = await self._stores.ask_ledger("look_up", dashboard_sessions.find, digest(cookie))
        now = self._clock.now()
        # One from the future was made by a clock that was ahead.
        if found is None or not found.created - _APART <= now <= found.expires_at:
            return None
        if now >= found.last_seen + _SEEN:
            with suppress(StoreError):  # one that cannot be written to can still be looked at
                await self._stores.write(dashboard_sessions.saw, found.id, now)
        csrf = _csrf(cookie)
        if found.user is None:
            return Session(found.id, None, "admin", None, livemode=False, csrf=csrf)
        if found.role is None:  # there is no such user, whose sessions went with them
            return None
        return Session(found.id, found.user, found.role, found.accounts, found.livemode, csrf)

    async def failed(self, name: str, address: str, unnoted: int) -> None:
        """Note that a sign-in failed, and how many before it were not noted.

        What nobody is called is not kept: it may be a password.
        """
        origin = Origin(_ANYBODY, self._clock.now(), address)
        try:
            await self._stores.write(_failed, origin, name, unnoted)
        except StoreError as error:
            log.warning("a failed sign-in could not be noted: %s", error)

    async def end(self, cookie: str | None, address: str) -> None:
        """End the session of a cookie."""
        if cookie:
            await self._stores.write(_end, digest(cookie), self._clock.now(), address)

    async def end_one(self, session: Session, id_: str, address: str) -> bool:
        """End one of somebody's own sessions; False when it is none."""
        origin = Origin(session.actor, self._clock.now(), address)
        return await self._stores.write(_end_one, origin, session.user, id_)

    async def end_all(self, session: Session, address: str) -> None:
        """End all of somebody's own sessions, this one too."""
        origin = Origin(session.actor, self._clock.now(), address)
        await self._stores.write(_end_all, origin, session.user)

    async def own(self, session: Session) -> list[DashboardSession]:
        """Return somebody's own sessions, the one that was seen last first."""
        now = self._clock.now()
        return await self._stores.read(dashboard_sessions.sessions_of, session.user, now)

    async def still_held(self, ids: Collection[str]) -> set[str]:
        """Return which of these sessions have not ended."""
        now = self._clock.now()
        return await self._stores.ask_ledger("look_up", dashboard_sessions.still_held, ids, now)

    async def _begin(self, user: tuple[str, str] | None, visitor: Visitor) -> str | None:
        """Begin a session of a name whose password had this hash; None when it is another now."""
        token, now = new_token(masking.DASHBOARD_SESSION), self._clock.now()
        await self.end(visitor.former, visitor.address)

        def work(connection: sa.Connection) -> str | None:
            begun = dashboard_sessions.create(
                connection,
                digest(token),
                user,
                address=visitor.address,
                browser=visitor.browser,
                now=now,
                expires_at=now + _LASTING,
            )
            if begun is None:
                return None
            origin = Origin(_actor(user[0] if user else None), now, visitor.address)
            audit.note(connection, origin, "dashboard_session.created", None, begun)
            return token

        return await self._stores.write(work)


def _actor(user: str | None) -> Actor:
    return Actor("operator", None, "link") if user is None else Actor("user", user, user)


def _failed(connection: sa.Connection, origin: Origin, name: str, unnoted: int) -> None:
    known = users.find_user(connection, name)
    before = {"failed_before": Change(new=unnoted)} if unnoted else {}
    whose = known.name if known else None
    audit.note(connection, origin, "dashboard_session.failed", None, whose, before)


def _end(connection: sa.Connection, token: bytes, now: int, address: str) -> None:
    ended = dashboard_sessions.end_by_digest(connection, token)
    if ended is not None:
        session, user = ended
        audit.note(connection, Origin(_actor(user), now, address), _ENDED, None, session)


def _end_one(connection: sa.Connection, origin: Origin, user: str | None, session: str) -> bool:
    ended = dashboard_sessions.end(connection, user, session)
    if ended:
        audit.note(connection, origin, _ENDED, None, session)
    return ended


def _end_all(connection: sa.Connection, origin: Origin, user: str | None) -> None:
    for session in dashboard_sessions.end_all(connection, user):
        audit.note(connection, origin, _ENDED, None, session)


def _csrf(token: str) -> str:
    told = blake2b(token.encode(), digest_size=24, person=b"dashboard.csrf")
    return masking.FORM + told.hexdigest()
