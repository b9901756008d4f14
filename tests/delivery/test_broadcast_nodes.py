"""Stripe CLIs that listen by several servers on one ledger, on a real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest

from meterhouse import limits
from meterhouse.delivery.listener import Event, Listener
from meterhouse.ledger import listeners, outbox
from meterhouse.ledger.engine import open_ledger
from meterhouse.metering.model import Scope
from meterhouse.usage.request_logs import RequestLog
from meterhouse.wire.notification import Notification
from meterhouse.wire.stripecli import EVERY_LOG, Ack, LogFilters
from tests.delivery.samples import NOW, event, request_log
from tests.delivery.test_broadcast import BOTH, LOGS, Station, hear, until
from tests.postgresql import PostgreSQL


class Node(Station):
    """One of several servers; `logs` are what the usage store has, the newest first."""

    def __init__(self, url: str, opened: ExitStack) -> None:
        super().__init__(opened.enter_context(open_ledger(url)))
        self.logs: list[RequestLog] = []
        self.stores._usage = lambda *_: [*self.logs]
        opened.callback(self.stores.close)

    async def found(self, session: Listener | None) -> Listener:
        """Let the CLI of a session reach this server."""
        assert session is not None
        one = await self.broadcast.find(session.id, session.scope.account)
        assert one is not None
        return one

    def emit(self, scope: Scope, number: int) -> Notification:
        made = event(number, scope=scope.id).notification
        with self.ledger.write() as connection:
            outbox.emit(connection, made)
        return made


Run = Callable[[Callable[[Node, Node], Awaitable[None]]], None]


@pytest.fixture
def run(postgresql_server: PostgreSQL) -> Iterator[Run]:
    with ExitStack() as opened:
        url = postgresql_server.blank()
        nodes = Node(url, opened), Node(url, opened)

        def go(work: Callable[[Node, Node], Awaitable[None]]) -> None:
            async def on() -> None:
                try:
                    for node in nodes:
                        await node.broadcast.start()
                    await work(*nodes)
                finally:
                    for node in nodes:
                        await node.broadcast.stop()

            asyncio.run(on())

        yield go


def test_a_session_that_one_server_has_made_goes_on_at_another(run: Run) -> None:
    async def work(one: Node, other: Node) -> None:
        made = await one.listen(one.own)
        early = one.emit(one.own, 1)
        there = await other.found(made)
        assert there.device == made.device
        connection = there.connect()
        late = one.emit(one.own, 2)
        assert await hear(there, connection) == (early, None)
        assert await hear(there, connection) == (late, None)
        await until(lambda: not one.broadcast._listeners)
        assert await made.next(made.connect()) is None

    run(work)


def test_who_goes_from_one_server_to_another_misses_nothing(run: Run) -> None:
    """What it has acknowledged just before, it may hear once more."""

    async def work(one: Node, other: Node) -> None:
        session = await one.listen(one.own)
        heard: list[str] = []
        made = 0
        for server in (one, other, one, other):
            listener = await server.found(session)
            connection = listener.connect()
            for _ in range(20):
                made += 1
                (one, other)[made % 2].emit(one.own, made)
            while f"evt_{made}" not in heard:
                item = await hear(listener, connection)
                assert isinstance(item, Event)
                listener.sending(item, NOW)
                heard.append(item.notification.id)
                server.broadcast.hear(listener, Ack(item.notification.id))
            made += 1
            one.emit(one.own, made)  # which comes while it is on its way to the next
            listener.disconnect(connection, NOW)
        first_heard = list(dict.fromkeys(heard))
        assert first_heard == [f"evt_{number}" for number in range(1, made)]

    run(work)


def test_what_many_put_in_at_once_is_heard_whole(run: Run) -> None:
    """Given transactions that commit in another order than they began."""

    async def work(one: Node, other: Node) -> None:
        listener = await other.found(await one.listen(one.own))
        connection = listener.connect()
        numbers = range(60)
        await asyncio.gather(
            *(
                asyncio.to_thread((one, other)[number % 2].emit, one.own, number)
                for number in numbers
            )
        )
        heard = []
        for _ in numbers:
            item = await hear(listener, connection)
            assert isinstance(item, Event)
            heard.append(item.notification.id)
        assert sorted(heard) == sorted(f"evt_{number}" for number in numbers)

    run(work)


def test_a_key_ends_its_sessions_at_every_server(run: Run) -> None:
    async def work(one: Node, other: Node) -> None:
        key = one.key(one.own)
        listener = await other.found(await one.listen(one.own, key=key))
        waiting = asyncio.create_task(listener.next(listener.connect()))
        one.revoke(key)
        assert await asyncio.wait_for(waiting, 60) is None
        for server in (one, other):
            assert await server.broadcast.find(listener.id, one.own.account) is None

    run(work)


def test_what_is_told_again_reaches_who_listens_anywhere(run: Run) -> None:
    async def work(one: Node, other: Node) -> None:
        made = one.emit(one.own, 1)
        listener = await other.found(await one.listen(one.own))
        connection = listener.connect()
        await one.broadcast.tell(one.own, made)
        await one.broadcast.tell(one.own, made, one.shop.account)
        assert await hear(listener, connection) == (made, None)
        assert await hear(listener, connection) == (made, one.shop.account)
        assert not listener._waiting

    run(work)


def test_the_session_of_a_server_that_died_goes_on_or_goes(run: Run) -> None:
    async def work(one: Node, other: Node) -> None:
        sessions = [await one.listen(one.own) for _ in range(2)]
        for session in sessions:
            session.connect()
        assert one.broadcast._task is not None
        one.broadcast._task.cancel()  # nothing more comes of that one
        later = NOW + 2 * limits.CLI_KEPT_SECONDS * 1000 + 1
        other.clock.set(later)
        listener = await other.found(sessions[0])
        with other.ledger.write() as connection:
            listeners.expire(connection, later, 10)
        assert set(other.since()) == {listener.id}
        one.broadcast = one.another()

    run(work)


def test_who_tails_hears_once_of_what_any_server_answers(run: Run) -> None:
    async def work(one: Node, other: Node) -> None:
        asked = []
        other.broadcast._ask = lambda: asked.append(True)
        tail = await other.found(await one.listen(one.own, LOGS, LogFilters()))
        mine = {"account": one.own.account, "created": NOW}
        early = request_log(1, **{**mine, "created": NOW - 1})
        later = [request_log(number, **mine) for number in (2, 3, 4)]
        other.logs[:] = [later[0], early]
        await until(lambda: len(tail._waiting) == 1)
        other.logs[:] = [later[2], later[1], later[0], early]  # the newest first
        await until(lambda: len(tail._waiting) == 3)
        other.broadcast.tell_logs(later)
        assert list(tail._waiting) == later
        assert len(asked) >= 2

    run(work)


def test_as_many_listen_as_may_at_each_server(run: Run) -> None:
    async def work(one: Node, other: Node) -> None:
        for _ in range(limits.CLI_LISTENERS_MAX):
            (await one.listen(one.own)).connect()
        assert await one.broadcast.listen(one.own, None, "a", BOTH, EVERY_LOG) is None
        assert await other.broadcast.listen(one.own, None, "a", BOTH, EVERY_LOG) is not None

    run(work)
