"""The load generator: HTTP/1.1 connections that cost a few microseconds a request.

A connection has one request under way at a time. Requests come as finished bytes, and of an answer
only its status and its length are read, so one core of Python asks more than one core of Python can
answer. What the generator itself used is part of every measurement: near 1.0 cores it was the
generator that was measured.
"""

import asyncio
import gc
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast
from urllib.parse import urlsplit

_LAST_ANSWER_SECONDS_MAX = 15
_ANSWER_SECONDS_MAX = 60
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "

MakeRequest = Callable[[], bytes]


class Answer(NamedTuple):
    """An HTTP answer; status 0 is a connection that ended instead of answering."""

    status: int
    head: bytes
    body: bytes


_LOST = Answer(0, b"", b"the connection was closed")


@dataclass
class Sample:
    """What a load saw: the seconds of each answer, what was refused, and what it took."""

    seconds: float = 0.0
    generator_seconds: float = 0.0
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    refused: Counter[int] = field(default_factory=Counter)
    first_refusal: Answer | None = None

    @property
    def rate(self) -> float:
        """Answers with status 200 a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    @property
    def generator_cores(self) -> float:
        """Processor time of the generator, in cores."""
        return self.generator_seconds / self.seconds if self.seconds else 0.0

    def add(self, other: "Sample") -> None:
        """Take in another sample of the same load."""
        self.seconds += other.seconds
        self.generator_seconds += other.generator_seconds
        self.latencies.extend(other.latencies)
        self.refused += other.refused
        self.first_refusal = self.first_refusal or other.first_refusal


class _Connection(asyncio.Protocol):
    """Hands each answer to `answered`, and `_LOST` when the connection ends."""

    def __init__(self, answered: Callable[[Answer], None]) -> None:
        self._answered = answered
        self._received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head = received.find(_HEAD_END)
        if head >= 0:
            at = received.find(_LENGTH, 0, head) + len(_LENGTH)
            length = int(received[at : received.find(b"\r", at)])
            if len(received) >= head + len(_HEAD_END) + length:
                self._received = b""
                body = received[head + len(_HEAD_END) :]
                self._answered(Answer(int(received[9:12]), received[:head], body))
                return
        self._received = received

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._answered(_LOST)


async def _connect(url: str, answered: Callable[[Answer], None]) -> _Connection:
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: _Connection(answered), address.hostname, address.port
    )
    return connection


class Client:
    """One connection for requests whose answers matter; open it with `connect`.

    A connection that the server has closed, because it idled, is opened again.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: _Connection
        self._waiting: asyncio.Future[Answer] | None = None

    @classmethod
    async def connect(cls, url: str) -> "Client":
        """Connect to `url`."""
        client = cls(url)
        client._connection = await _connect(url, client._answered)
        return client

    async def ask(self, request: bytes) -> Answer:
        """Send a request and return its answer; `RuntimeError` when none comes."""
        if self._connection.transport.is_closing():
            self._connection = await _connect(self._url, self._answered)
        self._waiting = asyncio.get_running_loop().create_future()
        self._connection.transport.write(request)
        try:
            return await asyncio.wait_for(self._waiting, _ANSWER_SECONDS_MAX)
        except TimeoutError:
            raise RuntimeError("a server left a request without an answer") from None

    def close(self) -> None:
        """Close the connection."""
        self._connection.transport.abort()

    def _answered(self, answer: Answer) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)


async def ask_all(url: str, requests: Sequence[bytes], connections: int = 16) -> list[Answer]:
    """Send every request once, in no order, and return their answers in the order of `requests`."""
    left = iter(enumerate(requests))
    answers: dict[int, Answer] = {}

    async def work() -> None:
        client = await Client.connect(url)
        for number, request in left:
            answers[number] = await client.ask(request)
        client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work())
    return [answers[number] for number in range(len(requests))]


class _Sender:
    """One connection of a load: sends the next request when the last was answered and is due.

    A request that was due before the last answer came counts from when it was due: others would
    have sent it meanwhile.
    """

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._sent = 0.0
        self._due = 0.0
        self._connection: _Connection | None = None
        self.done = asyncio.Event()

    async def connect(self, url: str) -> None:
        self._connection = await _connect(url, self._answered)

    def start(self, due: float) -> None:
        self._due = due
        self._send_when_due()

    def _send_when_due(self) -> None:
        now = time.perf_counter()
        if self._run.interval and self._due > now:
            asyncio.get_running_loop().call_later(self._due - now, self._send_unless_done)
        else:
            self._send(self._due if self._run.interval else now)

    def _send_unless_done(self) -> None:
        if not self.done.is_set():
            self._send(time.perf_counter())

    def _send(self, since: float) -> None:
        assert self._connection is not None
        self._sent = since
        self._connection.transport.write(self._run.make())

    def _answered(self, answer: Answer) -> None:
        now = time.perf_counter()
        if self.done.is_set():
            return
        self._run.note(answer, now - self._sent)
        if answer is _LOST or now >= self._run.end:
            self.finish()
            return
        self._due += self._run.interval
        self._send_when_due()

    def finish(self) -> None:
        self.done.set()
        if self._connection is not None:
            self._connection.transport.abort()


class _Run:
    """What the connections of one load share."""

    def __init__(self, make: MakeRequest, interval: float) -> None:
        self.make = make
        self.interval = interval
        self.end = 0.0
        self.sample = Sample()

    def note(self, answer: Answer, seconds: float) -> None:
        if answer.status == 200:
            self.sample.latencies.append(seconds)
            return
        self.sample.refused[answer.status] += 1
        if self.sample.first_refusal is None:
            self.sample.first_refusal = answer


async def load(
    url: str, make: MakeRequest, *, connections: int, seconds: float, rate: float = 0.0
) -> Sample:
    """Ask for `seconds`, as fast as answers come, or `rate` times a second over all connections.

    A rate is kept by time, evenly, whether answers are early or late, as long as there are enough
    connections: each has one request under way.

    Raises `RuntimeError` when the server leaves a request without an answer.
    """
    with _no_collections():
        run = _Run(make, connections / rate if rate else 0.0)
        senders = [_Sender(run) for _ in range(connections)]
        try:
            async with asyncio.timeout(seconds + _LAST_ANSWER_SECONDS_MAX):
                for sender in senders:
                    await sender.connect(url)
                started, used = time.perf_counter(), time.process_time()
                run.end = started + seconds
                for number, sender in enumerate(senders):
                    sender.start(started + run.interval * number / connections)
                for sender in senders:
                    await sender.done.wait()
        except TimeoutError:
            raise RuntimeError("a server left a request without an answer") from None
        finally:
            for sender in senders:
                sender.finish()
        run.sample.seconds = time.perf_counter() - started
        run.sample.generator_seconds = time.process_time() - used
    return run.sample


class _no_collections:  # noqa: N801 - used like a function
    """Keep the collector of this process out of what is measured."""

    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of the values do not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
