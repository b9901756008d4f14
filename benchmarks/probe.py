"""How long an acknowledged event takes until a summary has it."""

import time

from benchmarks import traffic
from benchmarks.bench import House, document
from benchmarks.load import Client
from benchmarks.processes import KEY

_HOUR_SECONDS = 3_600
_VISIBLE_SECONDS_MAX = 60


class Probe:
    """A customer of its own, whose total is asked for after each event."""

    def __init__(self, house: House, client: Client, customer: str) -> None:
        self._house = house
        self._client = client
        self._customer = customer
        self._events = 0

    @classmethod
    async def make(cls, house: House) -> "Probe":
        """Make the customer."""
        client = await Client.connect(house.server.url)
        made = await client.ask(traffic.post("/v1/customers", KEY, {"email": "probe@example.com"}))
        return cls(house, client, str(document(made)["id"]))

    async def seconds(self, *, strong: bool = False) -> float:
        """Send one event and return how long after its answer a summary counted it.

        Eventual reads are asked one after the other; one strong read must be enough.
        """
        form = {
            "event_name": self._house.event_names[0],
            "payload[stripe_customer_id]": self._customer,
            "payload[value]": "1",
            "payload[region]": "eu-central",
            "payload[model]": "small",
        }
        document(await self._client.ask(traffic.post("/v1/billing/meter_events", KEY, form)))
        acknowledged = time.perf_counter()
        self._events += 1
        request = self._summary("strong" if strong else "eventual")
        while await self._total(request) < self._events:
            assert not strong, "a strong read left an acknowledged event out"
            if time.perf_counter() > acknowledged + _VISIBLE_SECONDS_MAX:
                raise RuntimeError("an acknowledged event did not show in time")
        return time.perf_counter() - acknowledged

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _summary(self, consistency: str) -> bytes:
        hour = int(time.time()) // _HOUR_SECONDS * _HOUR_SECONDS
        query = {
            "customer": self._customer,
            "start_time": str(hour - _HOUR_SECONDS),
            "end_time": str(hour + 2 * _HOUR_SECONDS),
        }
        path = f"/v1/billing/meters/{self._house.meters[0]}/event_summaries"
        return traffic.get(path, KEY, query, f"Meterhouse-Consistency: {consistency}\r\n")

    async def _total(self, request: bytes) -> int:
        points = document(await self._client.ask(request))["data"]
        return int(points[0]["aggregated_value"]) if points else 0
