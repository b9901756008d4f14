"""One Stripe CLI that listens, or did until a moment ago.

What a reader may rely on:

- What is offered waits until it is sent, also while the CLI connects anew, and is sent again on
  the next connection if the CLI did not tell that it has read it: it may hear a thing twice.
- At most `CLI_WAITING_FRAMES_MAX` wait, and as many are remembered as sent; the oldest go first.
- What it has heard of the ledger's notifications is known by their numbers, without a gap, so that
  another process can go on from there.
- Of several connections with one id the newest counts. The others hear nothing any more; nor does
  any once the session has ended.
- What a URL has answered is believed only about events that this CLI was sent.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from meterhouse import limits
from meterhouse.ledger.forwards import Forward
from meterhouse.metering.model import Scope
from meterhouse.usage.request_logs import RequestLog
from meterhouse.wire.notification import Notification
from meterhouse.wire.stripecli import EVERY_LOG, Ack, Feature, LogFilters, Response, log_name

T = TypeVar("T")


class Device(NamedTuple):
    """What a CLI runs on: its name, the id that deliveries to it have, and what signs them."""

    name: str
    id: str
    secret: str


class Event(NamedTuple):
    """An event to hear of. `account` is its connected account, None for the listener's own."""

    notification: Notification
    account: str | None


Item = Event | RequestLog


class Listener:
    """A session of the CLI: what it wants to hear, and what it has not heard yet.

    It lasts as long as `key` is good, the id of the key that began it; None for the operator.
    It has heard all notifications up to the number `since`, as far as the ledger knows, and is
    offered those after it; it was offered all up to the number `offered` that it wants. `left_at`
    is the instant since when it has no connection, None while it has one. `dropped` is called when
    something is thrown away because too much waits.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the wire's name
        scope: Scope,
        key: str | None,
        device: Device,
        features: frozenset[Feature],
        since: int,
        now: int,
        dropped: Callable[[], None],
        filters: LogFilters = EVERY_LOG,
    ) -> None:
        self.id = id
        self.scope = scope
        self.key = key
        self.device = device
        self.features = features
        self.since = since
        self.offered = since
        self._filters = filters
        self._dropped = dropped
        self._waiting: deque[Item] = deque()
        self._some = asyncio.Event()
        self._unread: dict[str, Item] = {}
        self._owed: dict[str, int] = {}  # the numbers of notifications that are not heard yet
        self._sent: dict[str, int] = {}  # when each event was sent last
        self._logs: dict[str, None] = {}  # requests that were looked at of late
        self._logs_from = now
        self._connection = 0
        self._ended = False
        self.left_at: int | None = now

    def wants(self, item: Item) -> bool:
        """Return whether the CLI asked for a thing of this kind."""
        if isinstance(item, RequestLog):
            return "request_logs" in self.features and self._filters.admit(
                item.method, item.path, item.status, item.ip
            )
        thin = item.notification.payload == "thin"
        return ("v2_events" if thin else "webhooks") in self.features

    def offer(self, item: Item, number: int | None = None) -> None:
        """Send a thing as soon as the CLI is there; `number` is that of a new notification."""
        if len(self._waiting) >= limits.CLI_WAITING_FRAMES_MAX:
            self._owed.pop(_name(self._waiting.popleft()), None)
            self._dropped()
        if number is not None:
            self._owed[_name(item)] = number
        self._waiting.append(item)
        self._some.set()

    def offer_log(self, log: RequestLog) -> None:
        """Send a log of a request since the session is served here, once."""
        if log.created >= self._logs_from and log.request not in self._logs:
            _remember(self._logs, log.request, None)
            if self.wants(log):
                self.offer(log)

    def heard(self) -> int:
        """Return up to which number everything is heard."""
        return max(self.since, min(self._owed.values(), default=self.offered + 1) - 1)

    def connect(self) -> int:
        """Begin a connection and return its number."""
        self._connection += 1
        self.left_at = None
        self._waiting.extendleft(reversed(self._unread.values()))
        self._unread.clear()
        self._some.set()
        return self._connection

    def disconnect(self, connection: int, now: int) -> None:
        """End a connection; nothing happens where a newer one counts."""
        if connection == self._connection:
            self.left_at = now

    def end(self) -> None:
        """End the session: nothing more is sent."""
        self._ended = True
        self._some.set()

    def gone(self, now: int) -> bool:
        """Return whether the CLI has been away for so long that it will not come back."""
        kept = limits.CLI_KEPT_SECONDS * 1000
        return self.left_at is not None and self.left_at + kept <= now

    async def next(self, connection: int) -> Item | None:
        """Wait for the next thing to send; None when a newer connection counts, or none."""
        while connection == self._connection and not self._ended:
            if self._waiting:
                return self._waiting.popleft()
            self._some.clear()
            await self._some.wait()
        return None

    def sending(self, item: Item, now: int) -> None:
        """Remember that a thing is on its way."""
        gone = _remember(self._unread, _name(item), item)
        if gone is not None:
            self._owed.pop(gone, None)
        if isinstance(item, Event):
            _remember(self._sent, item.notification.id, now)

    def hear(self, frame: Ack | Response, now: int) -> Forward | None:
        """Take in what the CLI tells; return what it says of an event's delivery, if anything."""
        self._unread.pop(frame.name, None)
        self._owed.pop(frame.name, None)
        sent_at = self._sent.get(frame.name)
        if sent_at is None:
            return None
        forward = Forward(self.scope.id, frame.name, self.device.id, self.device.name, sent_at)
        if isinstance(frame, Ack):
            return forward
        beginning = frame.body[: limits.CLI_RESPONSE_CHARS_MAX]
        response = beginning.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL keeps none
        return forward._replace(at=now, status=frame.status, response=response)


def _name(item: Item) -> str:
    return log_name(item.request) if isinstance(item, RequestLog) else item.notification.id


def _remember(remembered: dict[str, T], name: str, value: T) -> str | None:
    """Put a value last; the oldest goes where there are too many. Return the name that went."""
    remembered.pop(name, None)
    full = len(remembered) >= limits.CLI_WAITING_FRAMES_MAX
    gone = next(iter(remembered)) if full else None
    if gone is not None:
        del remembered[gone]
    remembered[name] = value
    return gone
