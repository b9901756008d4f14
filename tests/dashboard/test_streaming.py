import asyncio
from typing import Any

import pytest

from meterhouse.dashboard.client import Api, Asker, Space
from meterhouse.dashboard.streaming import Download, SignedOut
from meterhouse.gone import Receive
from meterhouse.ledger.audit import Actor

BEGIN = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]}
PIECE = {"type": "http.response.body", "body": b"a,b", "more_body": True}


class Sending:
    """An API whose answer has begun, or not yet, and goes on for ever."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.over = asyncio.Event()
        self.ended = False
        self._messages = messages
        self._under_way = asyncio.Event()

    async def answer(self, _: Any, __: Any, send: Any) -> None:
        for message in self._messages:
            await send(message)
        self._under_way.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True

    def bounded(self, _: Receive) -> Receive:
        async def receive() -> Any:
            await self._under_way.wait()
            await self.over.wait()
            raise SignedOut

        return receive


@pytest.mark.parametrize(
    ("messages", "told"),
    [((), [401, b"Sign in first."]), ((BEGIN,), [200]), ((BEGIN, PIECE), [200, b"a,b"])],
)
def test_a_download_ends_when_whoever_asks_is_signed_out(
    messages: tuple[dict[str, Any], ...], told: list[Any]
) -> None:
    async def body() -> None:
        sending, heard = Sending(*messages), list[Any]()

        async def send(message: Any) -> None:
            heard.append(message.get("status", message.get("body")))

        space = Space("acct_1", livemode=False)
        api = Api(sending.answer, "a token")
        by = Asker(Actor("user", "ada", "ada"), "::1", local=False)
        download = Download(api, by, space, "/usage", [], "text/csv", "u.csv", sending.bounded)
        going = asyncio.create_task(download({"type": "http", "method": "GET"}, receiving, send))
        await asyncio.sleep(0)
        assert not going.done()
        sending.over.set()
        await asyncio.wait_for(going, 20)
        assert heard == told
        assert sending.ended

    asyncio.run(body())


async def receiving() -> Any:
    raise AssertionError("only what is bounded is asked")
