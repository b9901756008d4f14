"""Gathering the log of requests, in front of a usage store that a test holds in its hands."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.jobs.request_logs import RequestLogs
from meterhouse.logs import AnsweredRequest
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from meterhouse.usage.block import read
from meterhouse.usage.request_logs import RequestLog

NOW = 1_700_000_000_000


class Gathered:
    """The gatherer; what it tells, and the blocks that it stores unless the store is broken."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.told: list[RequestLog] = []
        self.stored: list[list[str]] = []
        self.broken = False
        self.listeners = 0
        self.logs = RequestLogs(
            cast("Stores", self), self.metrics, self._tell, lambda: self.listeners > 0
        )

    def _tell(self, logs: Sequence[RequestLog]) -> None:
        self.told += logs

    async def usage(self, _: Callable[..., None], table: str, body: bytes, token: str) -> None:
        """Insert as `Stores` would have it done."""
        if self.broken:
            raise StoreError("The usage store is away.")
        assert table == "request_logs"
        assert token.startswith("request_logs-")
        self.stored.append(read(body).to_pydict()["request"])

    def note(self, number: int, *, refused: bytes = b"", **changes: Any) -> None:
        request: dict[str, Any] = {
            "now": NOW,
            "method": "POST",
            "path": "/v1/customers",
            "status": 200,
            "seconds": 0.0015,
            "request": f"req_{number}",
            "account": "acct_1",
            "livemode": True,
        }
        self.logs.note(AnsweredRequest(**request | changes), "2024-06-20", "127.0.0.1", refused)

    @property
    def dropped(self) -> float | None:
        return self.metrics.registry.get_sample_value(
            "meterhouse_dropped_total", {"queue": "request_logs"}
        )


def test_what_is_noted_is_told_and_stored_in_one_block() -> None:
    gathered = Gathered()
    gathered.note(1)
    gathered.note(2, status=400, refused=b'{"error":{"type":"invalid_request_error"}}')
    asyncio.run(gathered.logs.store())
    assert gathered.stored == [["req_1", "req_2"]]
    assert gathered.told[1] == RequestLog(
        account="acct_1",
        livemode=True,
        created=NOW,
        request="req_2",
        method="POST",
        path="/v1/customers",
        status=400,
        microseconds=1_500,
        version="2024-06-20",
        ip="127.0.0.1",
        error='{"type":"invalid_request_error"}',
    )


def test_nothing_is_stored_when_nothing_was_noted() -> None:
    gathered = Gathered()
    asyncio.run(gathered.logs.store())
    assert gathered.stored == []


def test_no_more_wait_than_may() -> None:
    gathered = Gathered()
    for number in range(limits.REQUEST_LOG_WAITING_ROWS_MAX + 3):
        gathered.note(number)
    asyncio.run(gathered.logs.store())
    assert [len(block) for block in gathered.stored] == [limits.REQUEST_LOG_WAITING_ROWS_MAX]
    assert gathered.dropped == 3


def test_a_block_that_is_not_taken_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    gathered = Gathered()
    gathered.broken = True
    gathered.note(1)
    asyncio.run(gathered.logs.store())
    gathered.broken = False
    gathered.note(2)
    asyncio.run(gathered.logs.store())
    assert gathered.stored == [["req_2"]]
    assert gathered.dropped == 1
    assert "the log of 1 requests was not stored" in caplog.text


def test_a_few_wait_until_somebody_asks() -> None:
    gathered = Gathered()

    async def run() -> None:
        gathered.note(1)
        await gathered.logs.look()
        assert gathered.stored == []
        await gathered.logs.reach(strong=False)
        assert gathered.stored == [["req_1"]]
        gathered.note(2)
        await gathered.logs.reach(strong=False)
        assert gathered.stored == [["req_1"]]  # a block a second is enough
        await gathered.logs.reach(strong=True)
        assert gathered.stored == [["req_1"], ["req_2"]]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("looks", "rows", "listeners", "blocks"),
    [
        (1, 1, 0, 0),
        (1, 1, 1, 1),
        (1, limits.REQUEST_LOG_HELD_ROWS_MAX - 1, 0, 0),
        (1, limits.REQUEST_LOG_HELD_ROWS_MAX, 0, 1),
        (limits.REQUEST_LOG_HELD_SECONDS_MAX - 1, 1, 0, 0),
        (limits.REQUEST_LOG_HELD_SECONDS_MAX, 1, 0, 1),
    ],
)
def test_when_a_block_is_made(looks: int, rows: int, listeners: int, blocks: int) -> None:
    """There is a look a second."""
    gathered = Gathered()
    gathered.listeners = listeners

    async def run() -> None:
        for number in range(rows):
            gathered.note(number)
        for _ in range(looks):
            await gathered.logs.look()

    asyncio.run(run())
    assert len(gathered.stored) == blocks


def test_what_waits_is_stored_at_the_end() -> None:
    gathered = Gathered()

    async def run() -> None:
        gathered.logs.start()
        gathered.note(1)
        await gathered.logs.stop()

    asyncio.run(run())
    assert gathered.stored == [["req_1"]]
