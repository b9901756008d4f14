"""What every row needs: how long to measure, progress, and a Meterhouse with something in it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from benchmarks import traffic
from benchmarks.load import Answer, MakeRequest, Sample, ask_all, load
from benchmarks.processes import KEY, Folder, Server, meterhouse

_WARM_UP_SECONDS = 0.5
TURNS = 3

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """How long one measurement lasts, and where progress is told."""

    seconds: float
    say: Say


@dataclass(slots=True)
class Loaded:
    """A sample, the processor time that the server took for it, and what it answered before."""

    sample: Sample
    server_seconds: float = 0.0
    warm_up_answers: int = 0

    @property
    def answers(self) -> int:
        """Requests that the server answered with 200, those of the warm-up as well."""
        return self.warm_up_answers + len(self.sample.latencies)

    @property
    def server_cores(self) -> float:
        """Processor time of the server, in cores."""
        return self.server_seconds / self.sample.seconds if self.sample.seconds else 0.0


async def load_in_turn(
    servers: list[tuple[Server, MakeRequest]], *, connections: int, seconds: float
) -> list[Loaded]:
    """Load the servers one after the other, several times around, `seconds` each in all.

    What disturbs the machine for a moment then disturbs all of them.
    """
    found = [Loaded(Sample()) for _ in servers]
    for loaded, (server, make) in zip(found, servers, strict=True):
        warm = await load(server.url, make, connections=connections, seconds=_WARM_UP_SECONDS)
        loaded.warm_up_answers = len(warm.latencies)
    for _ in range(TURNS):
        for loaded, (server, make) in zip(found, servers, strict=True):
            loaded.server_seconds -= server.processor_seconds()
            loaded.sample.add(
                await load(server.url, make, connections=connections, seconds=seconds / TURNS)
            )
            loaded.server_seconds += server.processor_seconds()
            server.check()
    return found


class House(AbstractContextManager["House"]):
    """A Meterhouse with a folder of its own, meters and customers."""

    def __init__(self) -> None:
        self._open: ExitStack
        self.folder: Path
        self.server: Server
        self.meters: list[str] = []
        self.event_names: list[str] = []
        self.customers: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.folder = opened.enter_context(Folder())
            self.server = meterhouse(self.folder)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.server.stop()
        self._open.close()

    def restart(self) -> None:
        """Stop the server in order and start it again on the same folder."""
        self.server.stop()
        self.server = meterhouse(self.folder)

    async def furnish(self, meters: int, customers: int, dimensions: tuple[str, ...] = ()) -> None:
        """Make meters and customers."""
        self.event_names = [f"event_{number}" for number in range(meters)]
        self.meters = await self._make(
            [
                traffic.post(
                    "/v1/billing/meters",
                    KEY,
                    {
                        "display_name": name,
                        "event_name": name,
                        "default_aggregation[formula]": "sum",
                        **{f"dimension_payload_keys[{n}]": key for n, key in enumerate(dimensions)},
                    },
                )
                for name in self.event_names
            ]
        )
        await self.furnish_customers(customers)

    async def furnish_customers(self, customers: int) -> None:
        """Make customers, in place of those before."""
        one = traffic.post("/v1/customers", KEY, {"email": "somebody@example.com"})
        self.customers = await self._make([one] * customers)

    async def _make(self, requests: list[bytes]) -> list[str]:
        answers = await ask_all(self.server.url, requests)
        return [document(answer)["id"] for answer in answers]

    def creates(self, *, idempotency: bool) -> MakeRequest:
        """Return what makes v1 creates for this house's first meter."""
        return traffic.creates(KEY, self.event_names[0], self.customers, idempotency=idempotency)


def document(answer: Answer) -> dict[str, Any]:
    """Return the JSON document of an answer; raise `RuntimeError` when it was refused."""
    if answer.status != 200:
        raise RuntimeError(f"refused with {answer.status}: {answer.body.decode()}")
    read: dict[str, Any] = msgspec.json.decode(answer.body)
    return read
