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

Of several servers on one ledger the one that a CLI reaches last serves its session, from where the
ledger knows that it has heard. The others find that out at their next look, and let it go. Whoever
has something told again says so in the ledger. Requests that others answer are read in the usage
store, for which they are asked to hurry.
"""

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Collection, Sequence

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import is_set_within
from meterhouse.clock import Clock
from meterhouse.delivery.listener import Device, Event, Item, Listener
from meterhouse.errors import StoreError
from meterhouse.ledger import accounts, forwards, keys, listeners, notifications
from meterhouse.ledger.accounts import Home
from meterhouse.ledger.forwards import Forward
from meterhouse.ledger.listeners import Again, Listening
from meterhouse.metering.model import Scope
from meterhouse.metrics import Metrics
from meterhouse.signing import Signing
from meterhouse.stores import Stores
from meterhouse.usage.request_logs import Query, RequestLog
from meterhouse.usage.store import UsageStore
from meterhouse.wire.ids import derived_id, new_id
from meterhouse.wire.notification import Notification
from meterhouse.wire.stripecli import Ack, Feature, LogFilters, Response, listen_secret

log = logging.getLogger("meterhouse.broadcast")


class Broadcast:
    """Every listener of this process; `ask` asks all servers to store the log of requests soon."""

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        metrics: Metrics,
        signing: Signing,
        ask: Callable[[], None] = lambda: None,
    ) -> None:
        self._ask = ask
        self._stores = stores
        self._clock = clock
        self._dropped = metrics.dropped.labels("cli_frames")
        self._signing = signing
        self._listeners: dict[str, Listener] = {}
        self._homes: dict[int, Home] = {}  # as many as there are accounts
        self._name = secrets.token_hex(8)
        self._finding = asyncio.Lock()
        self._logs_at = -math.inf  # when logs were read, by the loop's clock
        self._kept_at = -math.inf  # when the ledger was told that they last, by the loop's clock
        self._heard: list[Forward] = []
        self._ended: set[str] = set()  # sessions that the ledger does not know to be over
        self._seen_at = -math.inf  # when the ledger was asked about all, by the loop's clock
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    async def start(self) -> None:
        """Wait for those who listened before; they are as if they had left just now."""
        if self._stores.shared:
            await self._stores.write(listeners.keep_all, self._until())
            return
        kept = await self._stores.write(listeners.take_all, self._name)
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
        session = Listening(new_id("cliws"), scope, key, device, features, filters, since)
        await self._stores.write(listeners.put, session, self._name, self._until())
        listener = self._listeners[session.id] = self._listener(session, signed_with)
        self._look()
        return listener

    async def find(self, listener: str, account: str) -> Listener | None:
        """Return the listener of an account that has this id, while it may listen."""
        if self._stores.shared:
            async with self._finding:
                await self._take(listener, account)
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

    async def tell(self, scope: Scope, event: Notification, account: str | None = None) -> None:
        """Tell whoever listens to `scope` of an event again; `account` is its connected account."""
        if self._stores.shared:
            again = Again(event.scope, event.id, account)
            await self._stores.write(listeners.tell_again, scope.id, again)
        else:
            self._offer(Event(event, account), scope.account, scope.livemode)

    def hears_logs(self) -> bool:
        """Tell whether somebody listens to the requests that are answered."""
        return any("request_logs" in one.features for one in self._listeners.values())

    def tell_logs(self, logs: Sequence[RequestLog]) -> None:
        """Tell of requests that were answered here."""
        if self.hears_logs() and not self._stores.shared:
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

    async def _take(self, listener: str, account: str) -> None:
        """Serve a session from now on, whoever has served it before."""
        key = await self._key()
        taken = await self._stores.write(
            listeners.take, listener, account, self._name, self._until()
        )
        known = self._listeners.get(listener)
        if taken is None or (known is not None and taken.mine):
            return
        if known is not None:
            known.end()
        self._listeners[listener] = self._listener(taken.session, key)
        self._look()

    def _until(self) -> int:
        """Return until when a session is surely kept; it is told again before that."""
        return self._clock.now() + 2 * limits.CLI_KEPT_SECONDS * 1000

    def _look(self) -> None:
        """Look for what happens, as long as somebody listens."""
        if self._listeners and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while (self._listeners or self._ended) and not self._ending.is_set():
            seconds = limits.CLI_POLL_MILLISECONDS / 1000
            try:
                await self._record()
                if self._stores.shared:
                    await self._serve()
                    await self._read_logs()
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
            one: number for one in self._listeners.values() if (number := one.heard()) > one.since
        }
        far = any(number >= one.since + limits.CLI_READ_ROWS_MAX for one, number in moved.items())
        ended = tuple(self._ended)
        if not (heard or ended or far or (last and moved)):
            return
        positions = [(one.id, number) for one, number in moved.items()]
        try:
            await self._stores.write(_keep, self._name, heard, positions, ended)
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

    async def _serve(self) -> None:
        """Let go those whom another server serves, keep the others, and tell again what is asked.

        Who is not served by this one, according to the ledger, was so before it was asked.
        """
        mine = tuple(self._listeners)
        served = await self._stores.read(listeners.served, self._name)
        for one in mine:
            if one not in served and one in self._listeners:
                self._listeners.pop(one).end()
        if any(served.values()):
            for one, again, event in await self._stores.write(listeners.take_again, self._name):
                listener = self._listeners.get(one)
                if listener is not None and event is not None:
                    _offer(listener, Event(event, again.account))
        now = asyncio.get_running_loop().time()
        if now >= self._kept_at + limits.CLI_KEPT_SECONDS:
            await self._stores.write(listeners.keep, self._name, self._until())
            self._kept_at = now

    async def _read(self) -> int:
        """Tell what happened since the last look; return how much it was."""
        after = min((one.offered for one in self._listeners.values()), default=None)
        if after is None:
            return 0
        found = await self._stores.read(notifications.after, after, limits.CLI_READ_ROWS_MAX)
        scopes = {event.scope for _, event in found} - self._homes.keys()
        if scopes:
            self._homes |= await self._stores.read(accounts.homes, scopes)
        # Who has come meanwhile may have to hear what was before.
        asked = [one for one in self._listeners.values() if one.offered >= after]
        for number, event in found:
            self._spread(event, number, asked)
        return len(found)

    async def _read_logs(self) -> None:
        """Tell of requests that any server has answered, once a second."""
        now = asyncio.get_running_loop().time()
        tails = [one for one in self._listeners.values() if "request_logs" in one.features]
        if not tails or now < self._logs_at + 1:
            return
        self._logs_at = now
        self._ask()
        start = self._clock.now() - limits.CLI_LOGS_SECONDS * 1000
        for scope in {one.scope for one in tails}:
            query = Query(scope, limits.CLI_WAITING_FRAMES_MAX, start=start)
            found = await self._stores.usage(UsageStore.request_logs, query)
            for one in tails:
                if one.scope == scope:
                    for entry in reversed(found):
                        one.offer_log(entry)

    def _spread(self, event: Notification, number: int, asked: Sequence[Listener]) -> None:
        home = self._homes[event.scope]
        told = [(home.account, Event(event, None))]
        if home.platform is not None:
            told.append((home.platform, Event(event, home.account)))
        for one in asked:
            if number > one.offered:
                one.offered = number
                for account, item in told:
                    if (one.scope.account, one.scope.livemode) == (account, home.livemode):
                        _offer(one, item, number)

    def _offer(self, item: Item, account: str, livemode: bool) -> None:
        for one in self._listeners.values():
            if (one.scope.account, one.scope.livemode) == (account, livemode):
                _offer(one, item)

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


def _offer(one: Listener, item: Item, number: int | None = None) -> None:
    if one.wants(item):
        one.offer(item, number)


def _secret(key: bytes, scope: Scope, device: str) -> str:
    return listen_secret(key, scope.account, device, livemode=scope.livemode)


def _keep(
    connection: sa.Connection,
    server: str,
    heard: Sequence[Forward],
    positions: Sequence[tuple[str, int]],
    ended: Sequence[str],
) -> None:
    forwards.record(connection, heard)
    listeners.move(connection, server, positions)
    listeners.forget(connection, server, ended)
