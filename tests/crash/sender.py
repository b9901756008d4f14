"""A sender that loses no event: it sends each one, under one identifier, until it is told."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from tests.crash.books import Books, Intent
from tests.crash.client import Client, Reply, UnreachableError
from tests.metering.oracle import OracleEvent, OracleMeter

RETRY_SECONDS = 0.01
KEYED = 0.3  # of all requests have an idempotency key
REJECTED = 0.05  # of all events will be rejected by the judge
REFUSED = 0.03  # of all requests are refused at once, and must leave no trace
REPEATED = 0.05  # of all acknowledged events are sent once more
CANCELLED = 0.04  # of all accepted events are cancelled
CANCELLABLE_MAX = 50
STREAMED = 0.05  # of all requests are streams
STREAM_EVENTS_MAX = 20
STREAM_REPEATED = 0.15  # of all events of streams have an identifier that may be taken
STREAM_NAMELESS = 0.3  # of all events of streams with an idempotency key have no identifier
RECENT_IDENTIFIERS = 30  # may be repeated in a stream
IN_SESSION = 0.5  # of all streams are sent with the token of a session
SESSION_RENEWED = 0.1  # of those begin a new one

Bad = tuple[str, str, str]  # what to send as customer and value, and the code that it earns


class Sender:
    """Sends events for a customer of its own, one after the other, and keeps the books.

    Its own customer's events are received in the order in which they were sent. The customer
    that all senders share has only meters that do not care about the order.
    """

    def __init__(
        self, client: Client, books: Books, own: str, shared: str, hours: list[int], seed: int
    ) -> None:
        self._client = client
        self._books = books
        self._own = own
        self._shared = shared
        self._hours = hours
        self._random = Random(seed)
        self._name = f"s{seed}"
        self._sent = 0
        self._token: str | None = None
        self._cancellable: list[OracleEvent] = []
        self._unordered = [
            meter
            for meter in books.meters
            if meter.formula != "last" and meter.event_time_window is None
        ]

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Send until told to stop; what was begun is seen through to its end."""
        try:
            while not stopped():
                await self._act()
        finally:
            self._client.close()

    async def _act(self) -> None:
        chance = self._random.random()
        if chance < REFUSED:
            await self._send_nonsense()
        elif chance < REFUSED + CANCELLED and self._cancellable:
            await self._cancel(self._cancellable.pop(0))
        elif chance < REFUSED + CANCELLED + STREAMED:
            await self._stream()
        else:
            await self._send(self._intend())

    def _intend(self) -> Intent:
        shared = self._random.random() < 0.2
        meter = self._random.choice(self._unordered if shared else self._books.meters)
        customer = self._shared if shared else self._own
        value, outcome = f"{self._random.randint(-99_999, 999_999)}", "accepted"
        if self._random.random() < 0.5:
            value += f".{self._random.randint(0, 999_999):06}"
        if self._random.random() < REJECTED:
            customer, value, outcome = self._spoil(meter, customer, value)
        hour = self._random.choice(self._hours)
        timestamp = hour + self._random.randrange(3600)
        return Intent(meter, customer, self._identifier(), value, timestamp, outcome)

    def _spoil(self, meter: OracleMeter, customer: str, value: str) -> Bad:
        ways: list[Bad] = [
            ("cus_unknown", value, "meter_event_customer_not_found"),
            ("", value, "meter_event_no_customer_defined"),
        ]
        if meter.formula != "count":
            ways += [
                (customer, "many", "meter_event_invalid_value"),
                (customer, "", "meter_event_value_not_found"),
            ]
        return self._random.choice(ways)

    async def _send(self, intent: Intent) -> None:
        key = self._key(intent.identifier)
        reply, lost = await self._post("/v1/billing/meter_events", intent.form(), key)
        if reply.status == 200:
            assert reply.document["identifier"] == intent.identifier
            assert lost or "idempotent-replayed" not in reply.headers, "a replay of nothing"
        else:
            assert _duplicate(reply, intent.identifier), reply
            assert lost, f"{intent.identifier} was taken before it was ever sent"
            assert key is None, f"{intent.identifier} is there without its idempotency record"
        self._remember(self._books.add(intent))
        if self._random.random() < REPEATED:
            reply, _ = await self._post("/v1/billing/meter_events", intent.form())
            assert _duplicate(reply, intent.identifier), f"an acknowledged event is gone: {reply}"

    async def _stream(self) -> None:
        """Send many events at once: new ones, and identifiers that may be taken."""
        key = self._key(f"{self._name}-stream")
        bearer = await self._session() if self._random.random() < IN_SESSION else ""
        number = self._random.randint(1, STREAM_EVENTS_MAX)
        intents = [self._intend_streamed(nameless=key is not None) for _ in range(number)]
        document = {"events": [intent.document() for intent in intents]}
        reply, lost = await self._insist(
            lambda: self._client.post_v2("/v2/billing/meter_event_stream", document, key, bearer)
        )
        assert (reply.status, reply.document) == (200, {}), reply
        assert lost or "idempotent-replayed" not in reply.headers, "a replay of nothing"
        for event in self._books.add_stream(intents, lost if key is None else 0):
            self._remember(event)

    def _intend_streamed(self, *, nameless: bool) -> Intent:
        """Intend an event without an identifier, or with one that may have been sent before."""
        intent = self._intend()
        if nameless and self._random.random() < STREAM_NAMELESS:
            return intent._replace(identifier="")
        if self._random.random() < STREAM_REPEATED:
            number = self._random.randint(max(1, self._sent - RECENT_IDENTIFIERS), self._sent)
            return intent._replace(identifier=f"{self._name}-{number}")
        return intent

    async def _session(self) -> str:
        """Return the token of a session, which outlives the server that gave it."""
        if self._token is None or self._random.random() < SESSION_RENEWED:
            path = "/v2/billing/meter_event_session"
            reply, _ = await self._insist(lambda: self._client.post_v2(path, {}))
            self._token = str(reply.document["authentication_token"])
        return self._token

    def _remember(self, event: OracleEvent) -> None:
        """Keep an event that can be cancelled: it counts and has a name."""
        named = event.outcome == "accepted" and event.identifier
        if named and len(self._cancellable) < CANCELLABLE_MAX:
            self._cancellable.append(event)

    async def _send_nonsense(self) -> None:
        form = {"event_name": "nobody", "identifier": self._identifier(), "payload[value]": "1"}
        reply, _ = await self._post("/v1/billing/meter_events", form, self._key(self._name))
        assert reply.message == 'No active meter found for event name "nobody".', reply

    async def _cancel(self, event: OracleEvent) -> None:
        form = {
            "event_name": event.meter.event_name,
            "type": "cancel",
            "cancel[identifier]": event.identifier,
        }
        key = self._key(f"cancel {event.identifier}")
        reply, _ = await self._post("/v1/billing/meter_event_adjustments", form, key)
        assert reply.status == 200, reply
        self._books.cancel(event)

    async def _post(
        self, path: str, form: dict[str, str], key: str | None = None
    ) -> tuple[Reply, int]:
        return await self._insist(lambda: self._client.post(path, form, key))

    async def _insist(self, attempt: Callable[[], Awaitable[Reply]]) -> tuple[Reply, int]:
        """Try until a real answer comes; also tell how many attempts before were lost."""
        lost = 0
        while True:
            try:
                reply = await attempt()
            except UnreachableError:
                pass
            except ConnectionError:
                lost += 1
            else:
                if reply.status not in {409, 429, 503}:
                    return reply, lost
            await asyncio.sleep(RETRY_SECONDS)

    def _identifier(self) -> str:
        self._sent += 1
        return f"{self._name}-{self._sent}"

    def _key(self, text: str) -> str | None:
        return f"{text}-{self._sent}" if self._random.random() < KEYED else None


def _duplicate(reply: Reply, identifier: str) -> bool:
    return (
        reply.status == 400
        and reply.message == f"An event already exists with identifier {identifier}."
        and reply.headers["stripe-should-retry"] == "false"
    )
