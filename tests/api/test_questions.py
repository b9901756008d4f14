"""Slow questions, which are ended, refused, or wait, while quick ones are answered.

What makes them slow is a statement that counts up to two thousand million.
"""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import SlowError
from meterhouse.ledger import customers
from tests.api.local import LocalServer, local_server
from tests.api.samples import error_of
from tests.server import LIVE_KEY
from tests.test_stores import NUMBERS

LIST, WAITING = "/v1/customers", 1


class Slow:
    """What stands for a list that takes long: how often it was begun, and how it ended."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.ended: list[Exception] = []

    def read(self, connection: sa.Connection, *_: object, **__: object) -> None:
        self.begun.release()
        try:
            connection.exec_driver_sql(NUMBERS)
        except sa.exc.OperationalError as error:
            self.ended.append(error)
            raise


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Let a list of customers take long, and only one more of a sender wait."""
    made = Slow()
    monkeypatch.setattr(customers, "list_customers", made.read)
    monkeypatch.setattr(limits, "SLOW_SENDER_WAITING_MAX", WAITING)
    return made


@pytest.fixture
def slowed(slow: Slow, tmp_path: Path) -> Iterator[LocalServer]:
    del slow
    with local_server(tmp_path) as opened:
        yield opened


def test_slow_questions_of_one_sender_hold_nobody_up(slowed: LocalServer) -> None:
    """Given more of them than may be asked and wait, then those are refused, others answered."""

    async def body() -> None:
        many = limits.SLOW_SENDER_READERS_MAX + WAITING + 2
        asking = [asyncio.create_task(slowed.ask("GET", LIST)) for _ in range(many)]
        await asyncio.sleep(0)
        other = await slowed.ask("GET", "/v1/billing/meters", key=LIVE_KEY)
        assert other.status_code == 200
        assert not any(one.done() for one in asking)
        pending, answers = set(asking), list[httpx.Response]()
        while len(answers) < 2:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            answers += [one.result() for one in done]
        for answer in answers:
            assert error_of(answer, 429)["code"] == "rate_limit"
            assert answer.headers["stripe-rate-limited-reason"] == "endpoint-concurrency"
        told = await slowed.ask("GET", "/metrics")
        assert 'meterhouse_overloads_total{queue="questions"} 2.0' in told.text
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)

    slowed.run(body())


def test_a_client_that_goes_away_ends_its_question(slowed: LocalServer, slow: Slow) -> None:
    """Given a slow question under way, then it has ended when its request has, and is logged."""
    gone = asyncio.Event()
    sent: list[Any] = []
    pieces = [{"type": "http.request", "body": b""}]

    async def receive() -> Any:
        if pieces:
            return pieces.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def body() -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "http_version": "1.1",
            "path": LIST,
            "raw_path": LIST.encode(),
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer " + LIVE_KEY.encode())],
            "client": None,
        }
        asking = asyncio.create_task(slowed.meterhouse.asgi(scope, receive, send))
        for _ in range(2):  # as a quick question first, then as a slow one
            await asyncio.to_thread(slow.begun.acquire)
        gone.set()
        await asking

    slowed.run(body())
    assert not sent
    assert len(slow.ended) == 2


def test_a_question_that_takes_longer_than_any_may(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> None:
        raise SlowError("It takes too long.")

    monkeypatch.setattr(customers, "list_customers", read)
    answer = local.request("GET", LIST)
    assert error_of(answer, 503)["message"].startswith("The answer would take too long.")
    assert answer.headers["stripe-should-retry"] == "false"
