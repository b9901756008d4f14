"""What every row needs: how long to measure, progress, and a Meterhouse with something in it."""

import time
from collections.abc import Awaitable, Callable
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
class Sizes:
    """How much is measured: the options of the command.

    `seconds` is the length of one measurement; `connections`, `events` (of one request),
    `customers` and `meters` are those of the stream; `steady_seconds` is the length of the steady
    stream, `history` the number of events that are stored before the stream is measured again,
    `trickle_seconds` the length of each measurement of a trickle, `searched` the number of
    customers that are searched.
    """

    seconds: float = 5.0
    connections: int = 16
    events: int = 100
    customers: int = 10_000
    meters: int = 5
    steady_seconds: float = 20.0
    history: int = 2_000_000
    trickle_seconds: float = 30.0
    searched: int = 300_000


@dataclass(frozen=True, slots=True)
class Bench:
    """How much to measure, and where progress is told."""

    sizes: Sizes
    say: Say


@dataclass(frozen=True, slots=True)
class Contender:
    """A server, what to ask it, and how to wait until it is done with what it has answered."""

    server: Server
    make: MakeRequest
    settle: Callable[[], Awaitable[object]] | None = None


@dataclass(slots=True)
class Loaded:
    """A sample, what the server took for it, and what it answered before.

    `settle_seconds` is how long the server went on with what it had answered.
    """

    sample: Sample
    server_seconds: float = 0.0
    settle_seconds: float = 0.0
    warm_up_answers: int = 0

    @property
    def answers(self) -> int:
        """Requests that the server answered with 200, those of the warm-up as well."""
        return self.warm_up_answers + len(self.sample.latencies)

    @property
    def seconds(self) -> float:
        """How long the server had work."""
        return self.sample.seconds + self.settle_seconds

    @property
    def rate(self) -> float:
        """Answers with status 200 a second of work."""
        return len(self.sample.latencies) / self.seconds if self.seconds else 0.0

    @property
    def server_cores(self) -> float:
        """Processor time of the server, in cores."""
        return self.server_seconds / self.seconds if self.seconds else 0.0


async def load_in_turn(
    contenders: list[Contender], *, connections: int, seconds: float
) -> list[Loaded]:
    """Load the servers one after the other, several times around, `seconds` each in all.

    What disturbs the machine for a moment then disturbs all of them. Each is done with its work
    before the next one's turn, so none works in another's time.
    """
    found = [Loaded(Sample()) for _ in contenders]
    for loaded, one in zip(found, contenders, strict=True):
        warm = await load(
            one.server.url, one.make, connections=connections, seconds=_WARM_UP_SECONDS
        )
        loaded.warm_up_answers = len(warm.latencies)
        if one.settle is not None:
            await one.settle()
    for _ in range(TURNS):
        for loaded, one in zip(found, contenders, strict=True):
            await _turn(loaded, one, connections, seconds / TURNS)
    return found


async def _turn(loaded: Loaded, one: Contender, connections: int, seconds: float) -> None:
    loaded.server_seconds -= one.server.processor_seconds()
    loaded.sample.add(
        await load(one.server.url, one.make, connections=connections, seconds=seconds)
    )
    if one.settle is not None:
        answered = time.perf_counter()
        await one.settle()
        loaded.settle_seconds += time.perf_counter() - answered
    loaded.server_seconds += one.server.processor_seconds()
    one.server.check()


class House(AbstractContextManager["House"]):
    """A Meterhouse with a folder of its own, meters and customers."""

    def __init__(self, start: Callable[[Path], Server] = meterhouse) -> None:
        self._start = start
        self._open: ExitStack
        self.folder: Path
        self.server: Server
        self.meters: list[str] = []
        self.event_names: list[str] = []
        self.customers: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.folder = opened.enter_context(Folder())
            self.server = self._start(self.folder)
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
        self.start()

    def start(self) -> None:
        """Start the server again after it was stopped."""
        self.server = self._start(self.folder)

    async def furnish(self, meters: int, customers: int, dimensions: tuple[str, ...] = ()) -> None:
        """Make meters, each for the event name at its place, and customers."""
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
        one = traffic.post("/v1/customers", KEY, {"email": "somebody@example.com"})
        self.customers = await self._make([one] * customers)

    async def furnish_for_stream(self, sizes: Sizes) -> None:
        """Make what the stream is about: meters with two dimensions, and customers."""
        await self.furnish(sizes.meters, sizes.customers, ("region", "model"))

    async def _make(self, requests: list[bytes]) -> list[str]:
        answers = await ask_all(self.server.url, requests)
        return [document(answer)["id"] for answer in answers]

    def creates(self, *, idempotency: bool) -> MakeRequest:
        """Return what makes v1 creates for this house's first meter."""
        return traffic.creates(KEY, self.event_names[0], self.customers, idempotency=idempotency)

    def streams(self, sizes: Sizes) -> MakeRequest:
        """Return what makes requests of the stream, over all meters and customers."""
        return traffic.streams(KEY, self.event_names, self.customers, sizes.events)

    def ledger_bytes(self) -> int:
        """Return how large the files of the ledger are."""
        return sum(path.stat().st_size for path in self.folder.glob("ledger.db*"))

    def check_books(self, events: int) -> None:
        """Raise `RuntimeError` unless the server acknowledged so many events and accepted all.

        For when all of them are visible. The server counts from its last start.
        """
        acknowledged, accepted = [
            self.server.metric("meterhouse_events_total", outcome=outcome)
            for outcome in ("acknowledged", "accepted")
        ]
        if not events == acknowledged == accepted:
            raise RuntimeError(
                f"{events:,} events were answered with 200; the server counts "
                f"{acknowledged:,.0f} as acknowledged and {accepted:,.0f} as accepted"
            )


def document(answer: Answer) -> dict[str, Any]:
    """Return the JSON document of an answer; raise `RuntimeError` when it was refused."""
    if answer.status != 200:
        raise RuntimeError(f"refused with {answer.status}: {answer.body.decode()}")
    read: dict[str, Any] = msgspec.json.decode(answer.body)
    return read
