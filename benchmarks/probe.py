"""How long an acknowledged event takes until a summary has it."""

import asyncio
import time

from benchmarks import traffic
from benchmarks.bench import House, document
from benchmarks.load import Client
from benchmarks.processes import KEY

_HOUR_SECONDS = 3_600
_VISIBLE_SECONDS_MAX = 60
_WATCH_SECONDS = 0.05  # between two events of a watch
_POLL_SECONDS = 0.05  # between two looks of a watch, which are work for the server, too
_AGAIN_SECONDS = 0.1


class Probe:
    """A customer of its own, whose total is asked for after each event.

    Events become visible in the order in which they were acknowledged. So once a probe's event is
    visible, everything is that was acknowledged before it.
    """

    def __init__(self, house: House, sender: Client, reader: Client, customer: str) -> None:
        self._house = house
        self._sender = sender
        self._reader = reader
        self._customer = customer
        self._acknowledged: list[float] = []  # when each event was

    @classmethod
    async def make(cls, house: House) -> "Probe":
        """Make the customer."""
        sender, reader = [await Client.connect(house.server.url) for _ in range(2)]
        made = await sender.ask(traffic.post("/v1/customers", KEY, {"email": "probe@example.com"}))
        return cls(house, sender, reader, str(document(made)["id"]))

    @property
    def events(self) -> int:
        """How many events were sent."""
        return len(self._acknowledged)

    async def seconds(self, *, strong: bool = False) -> float:
        """Send one event and return how long after its answer a summary counted it.

        Eventual reads are asked one after the other; one strong read must be enough.
        """
        await self._send(streamed=False)
        while await self._total(strong=strong) < len(self._acknowledged):
            assert not strong, "a strong read left an acknowledged event out"
            _check_patience(self._acknowledged[-1])
        return time.perf_counter() - self._acknowledged[-1]

    async def watch(self, seconds: float) -> list[float]:
        """Stream an event now and then; return how long after its answer each was visible."""
        sending = asyncio.create_task(self._send_now_and_then(time.perf_counter() + seconds))
        seen = len(self._acknowledged)
        found: list[float] = []
        while not sending.done() or seen < len(self._acknowledged):
            total = await self._total(strong=False)
            now = time.perf_counter()
            # An event can be visible before its answer has come; the next look counts it.
            newly = self._acknowledged[seen:total]
            found.extend(now - acknowledged for acknowledged in newly)
            seen += len(newly)
            if seen < len(self._acknowledged):
                _check_patience(self._acknowledged[seen])
            await asyncio.sleep(_POLL_SECONDS)
        await sending
        return found

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()
        self._reader.close()

    async def _send_now_and_then(self, end: float) -> None:
        while time.perf_counter() < end:
            await self._send(streamed=True)
            await asyncio.sleep(_WATCH_SECONDS)

    async def _send(self, *, streamed: bool) -> None:
        name = self._house.event_names[0]
        payload = {
            "stripe_customer_id": self._customer,
            "value": "1",
            "region": "eu-central",
            "model": "small",
        }
        if streamed:
            request = traffic.stream(KEY, [{"event_name": name, "payload": payload}])
        else:
            form = {f"payload[{key}]": value for key, value in payload.items()}
            path = "/v1/billing/meter_events"
            request = traffic.post(path, KEY, form | {"event_name": name})
        answer = await self._sender.ask(request)
        while answer.status == 429:  # as any sender does that is turned away
            await asyncio.sleep(_AGAIN_SECONDS)
            answer = await self._sender.ask(request)
        document(answer)
        self._acknowledged.append(time.perf_counter())

    async def _total(self, *, strong: bool) -> int:
        hour = int(time.time()) // _HOUR_SECONDS * _HOUR_SECONDS
        query = {
            "customer": self._customer,
            "start_time": str(hour - _HOUR_SECONDS),
            "end_time": str(hour + 2 * _HOUR_SECONDS),
        }
        path = f"/v1/billing/meters/{self._house.meters[0]}/event_summaries"
        consistency = "strong" if strong else "eventual"
        header = f"Meterhouse-Consistency: {consistency}\r\n"
        points = document(await self._reader.ask(traffic.get(path, KEY, query, header)))["data"]
        return int(points[0]["aggregated_value"]) if points else 0


def _check_patience(since: float) -> None:
    if time.perf_counter() > since + _VISIBLE_SECONDS_MAX:
        raise RuntimeError("an acknowledged event did not show in time")
