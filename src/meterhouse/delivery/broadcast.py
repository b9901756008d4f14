"""Broadcast: what happens is told to the Stripe CLIs that listen, as it happens.

While somebody listens, the ledger is asked for new notifications every `CLI_POLL_MILLISECONDS`, so
it does not matter which process has written them. Nothing is owed to a CLI: one that begins to
listen hears what happens from then on, and one that stays away for `CLI_KEPT_SECONDS` nothing more.
Nor does one whose key is revoked or has expired, or whose events are signed with what is no longer
the secret: the ledger is asked about all who listen at once, every `KEY_LOOK_MILLISECONDS`, and
before anybody connects.

Which sessions there are, and how far each has heard, is kept in the ledger, so that a CLI goes on
after a restart or a kill. What the CLIs tell about their forwarding is recorded in the same
transaction, at the pace of the looks: what one acknowledged just before a kill it hears again.
While the ledger does not answer, the first `CLI_WAITING_FRAMES_MAX` things that they tell are kept.
"""

import asyncio
import logging
import math
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import is_set_within
from meterhouse.clock import Clock
from meterhouse.delivery.listener import Device, Event, Item, Listener
from meterhouse.errors import StoreError
from meterhouse.ledger import accounts, forwards, keys, listeners, notifications
from meterhouse.ledger.accounts import Home
from meterhouse.ledger.forwards import Forward
from meterhouse.ledger.listeners import Listening
from meterhouse.metering.model import Scope
from meterhouse.metrics import Metrics
from meterhouse.signing import Signing
from meterhouse.stores import Stores
from meterhouse.usage.request_logs import RequestLog
from meterhouse.wire.ids import derived_id, new_id
from meterhouse.wire.notification import Notification
from meterhouse.wire.stripecli import Ack, Feature, LogFilters, Response, listen_secret

log = logging.getLogger("meterhouse.broadcast")


class Broadcast:
    """Every listener of this process."""

    def __init__(self, stores: Stores, clock: Clock, metrics: Metrics, signing: Signing) -> None:
        self._stores = stores
        self._clock = clock
        self._dropped = metrics.dropped.labels("cli_frames")
        self._signing = signing
        self._listeners: dict[str, Listener] = {}
        self._homes: dict[int, Home] = {}  # as many as there are accounts
        self._number = 0
        self._heard: list[Forward] = []
        self._ended: set[str] = set()  # sessions that the ledger does not know to be over
        self._seen_at = -math.inf  # when the ledger was asked about all, by the loop's clock
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    async def start(self) -> None:
        """Wait for those who listened before; they are as if they had left just now."""
        kept = await self._stores.read(listeners.read)
        self._number = min((one.since for one in kept), default=0)
        key = await self._key()
        for one in kept:
            self._listeners[one.id] = self._listener(one, key)
        self._look()

    async def listen(
        self,
        scope: Scope,
        key: str | None,
        device: str,
        features: frozenset[Feature],
        filters: LogFilters,
    ) -> Listener | None:
        """Let a CLI listen from now on; None when as many listen to the scope as may.

        It listens as long as `key` is good, which is None for the operator. One that is away makes
        room: who only asks for a secret never comes.
        """
        signed_with = await self._key()
        since = await self._stores.read(notifications.last)
        self._forget(self._clock.now())
        if not self._make_room(scope):
            return None
        if not self._listeners:
            self._number = since
        session = Listening(new_id("cliws"), scope, key, device, features, filters, since)
        listener = self._listeners[session.id] = self._listener(session, signed_with)
        self._look()
        await self._stores.write(listeners.put, session)
        return listener

    async def find(self, listener: str, account: str) -> Listener | None:
        """Return the listener of an account that has this id, while it may listen."""
        found = self._listeners.get(listener)
        if found is None or found.scope.account != account:
            return None
        await self._see((found,))
        return self._listeners.get(listener)

    def hear(self, listener: Listener, frame: Ack | Response) -> None:
        """Take in what a CLI tells."""
        forward = listener.hear(frame, self._clock.now())
        if forward is not None and len(self._heard) < limits.CLI_WAITING_FRAMES_MAX:
            self._heard.append(forward)

    def tell(self, scope: Scope, event: Notification, account: str | None = None) -> None:
        """Tell whoever listens to `scope` of an event again; `account` is its connected account."""
        self._offer(Event(event, account), scope.account, scope.livemode)

    def hears_logs(self) -> bool:
        """Tell whether somebody listens to the requests that are answered."""
        return any("request_logs" in one.features for one in self._listeners.values())

    def tell_logs(self, logs: Sequence[RequestLog]) -> None:
        """Tell of requests that were answered."""
        if self.hears_logs():
            for one in logs:
                self._offer(one, one.account, one.livemode)

    async def stop(self) -> None:
        """Record what was heard, and listen no more."""
        self._ending.set()
        if self._task is not None:
            await asyncio.wait({self._task})
        try:
            await self._record(last=True)
        except Exception:
            log.exception("what the Stripe CLIs told last is not recorded")

    async def _key(self) -> bytes:
        return (await self._signing.keys()).listeners

    def _listener(self, one: Listening, key: bytes) -> Listener:
        account, livemode = one.scope.account, one.scope.livemode
        device = Device(
            one.device,
            derived_id("cli", livemode, account, one.device),
            _secret(key, one.scope, one.device),
        )
        return Listener(
            one.id,
            one.scope,
            one.key,
            device,
            one.features,
            one.since,
            self._clock.now(),
            self._dropped.inc,
            one.filters,
        )

    def _look(self) -> None:
        """Look for what happens, as long as somebody listens."""
        if self._listeners and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while (self._listeners or self._ended) and not self._ending.is_set():
            seconds = limits.CLI_POLL_MILLISECONDS / 1000
            try:
                await self._record()
                await self._see_all()
                while await self._read() == limits.CLI_READ_ROWS_MAX:
                    pass
            except Exception:
                log.exception("listeners will be told later")
                seconds = limits.DELIVERY_RETRY_SECONDS
            await is_set_within(self._ending, seconds)
            self._forget(self._clock.now())

    async def _record(self, *, last: bool = False) -> None:
        """Keep what the CLIs told and how far they have heard.

        What they do not want to hear moves nobody, but in great numbers: it costs a read.
        """
        heard, self._heard = self._heard, []
        moved = {
            one: number
            for one in self._listeners.values()
            if (number := one.heard(self._number)) > one.since
        }
        far = any(number >= one.since + limits.CLI_READ_ROWS_MAX for one, number in moved.items())
        ended = tuple(self._ended)
        if not (heard or ended or far or (last and moved)):
            return
        positions = [(one.id, number) for one, number in moved.items()]
        try:
            await self._stores.write(_keep, heard, positions, ended)
        except StoreError:
            self._heard = [*heard, *self._heard][: limits.CLI_WAITING_FRAMES_MAX]
            raise
        for one, number in moved.items():
            one.since = number
        self._ended.difference_update(ended)

    async def _see_all(self) -> None:
        """End the sessions that may listen no more, if it is time to ask."""
        now = asyncio.get_running_loop().time()
        if now >= self._seen_at + limits.KEY_LOOK_MILLISECONDS / 1000:
            await self._see(tuple(self._listeners.values()))
            self._seen_at = now

    async def _see(self, asked: Collection[Listener]) -> None:
        """End those sessions whose key is good no more, or whose events have another secret now."""
        ids, now = {one.key for one in asked if one.key is not None}, self._clock.now()
        good = await self._stores.ask_ledger("look_up", keys.still_good, ids, now) if ids else ()
        signed_with = await self._key()
        for one in asked:
            held = one.key is None or one.key in good
            same = one.device.secret == _secret(signed_with, one.scope, one.device.name)
            if one.id in self._listeners and not (held and same):
                self._end(one.id)

    async def _read(self) -> int:
        """Tell what happened since the last look; return how much it was."""
        found = await self._stores.read(notifications.after, self._number, limits.CLI_READ_ROWS_MAX)
        scopes = {event.scope for _, event in found} - self._homes.keys()
        if scopes:
            self._homes |= await self._stores.read(accounts.homes, scopes)
        for number, event in found:
            self._number = number
            self._spread(event, number)
        return len(found)

    def _spread(self, event: Notification, number: int) -> None:
        home = self._homes[event.scope]
        self._offer(Event(event, None), home.account, home.livemode, number)
        if home.platform is not None:
            self._offer(Event(event, home.account), home.platform, home.livemode, number)

    def _offer(self, item: Item, account: str, livemode: bool, number: int | None = None) -> None:
        for one in self._listeners.values():
            mine = (one.scope.account, one.scope.livemode) == (account, livemode)
            if mine and one.wants(item) and (number is None or number > one.since):
                one.offer(item, number)

    def _make_room(self, scope: Scope) -> bool:
        """See to it that one more may listen, if need be in place of who has left first."""
        there = [one for one in self._listeners.values() if one.scope == scope]
        if len(there) < limits.CLI_LISTENERS_MAX:
            return True
        away = [(one.left_at, one.id) for one in there if one.left_at is not None]
        if away:
            self._end(min(away)[1])
        return bool(away)

    def _forget(self, now: int) -> None:
        for one in [one for one in self._listeners.values() if one.gone(now)]:
            self._end(one.id)

    def _end(self, listener: str) -> None:
        self._listeners.pop(listener).end()
        self._ended.add(listener)


def _secret(key: bytes, scope: Scope, device: str) -> str:
    return listen_secret(key, scope.account, device, livemode=scope.livemode)


def _keep(
    connection: sa.Connection,
    heard: Sequence[Forward],
    positions: Sequence[tuple[str, int]],
    ended: Sequence[str],
) -> None:
    forwards.record(connection, heard)
    listeners.move(connection, positions)
    listeners.forget(connection, ended)
