"""Broadcasting from a real ledger to listeners that a test holds in its hands."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.delivery.broadcast import Broadcast
from meterhouse.delivery.listener import Event, Item, Listener
from meterhouse.errors import StoreError
from meterhouse.ledger import accounts, audit, keys, notifications, signing_secret
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.tables import deliveries, listeners
from meterhouse.metering.model import Scope
from meterhouse.metrics import Metrics
from meterhouse.signing import Signing
from meterhouse.stores import Stores
from meterhouse.wire.notification import Notification
from meterhouse.wire.stripecli import EVERY_LOG, Ack, Feature, LogFilters, Response
from tests.blank import blank_ledger
from tests.delivery.samples import NOW, event, request_log

BOTH: frozenset[Feature] = frozenset(("webhooks", "v2_events"))
LOGS: frozenset[Feature] = frozenset(("request_logs",))


class Station:
    """A broadcast, its ledger and its clock, and the scopes of a platform and of its shop."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.clock = ManualClock(NOW)
        with ledger.write() as connection:
            platform = accounts.default_account(connection, NOW)
            shop = accounts.create_account(connection, "Shop", NOW)
            self.own, self.live = accounts.scopes_of(connection, platform.id)
            self.shop, _ = accounts.scopes_of(connection, shop.id)
        self.stores = Stores(ledger, lambda *_: None)
        self.broadcast = self.another()

    def another(self) -> Broadcast:
        """Return a broadcast of the same ledger, as a restart makes one."""
        return Broadcast(self.stores, self.clock, Metrics(), Signing(self.stores, self.clock))

    async def listen(
        self,
        scope: Scope,
        features: frozenset[Feature] = BOTH,
        filters: LogFilters = EVERY_LOG,
        key: str | None = None,
    ) -> Listener:
        one = await self.broadcast.listen(scope, key, "laptop", features, filters)
        assert one is not None
        return one

    def key(self, scope: Scope, **about: Any) -> str:
        with self.ledger.write() as connection:
            return keys.create_key(connection, scope, NOW, **about)[0].id

    def revoke(self, key: str) -> None:
        """Revoke a key beside the server, as another node does it."""
        with self.ledger.write() as connection:
            keys.revoke_key(connection, key, audit.system(NOW))

    def rotate(self) -> None:
        """Renew what signs beside the server; the next look finds it."""
        with self.ledger.write() as connection:
            signing_secret.rotate(connection)
        self.clock.advance(limits.SIGNING_LOOK_MILLISECONDS)

    def happen(self, scope: Scope, number: int, **changes: Any) -> Notification:
        made = event(number, scope=scope.id, **changes).notification
        with self.ledger.write() as connection:
            notifications.put(connection, made)
        return made

    def told(self) -> list[tuple[str, str, str, int]]:
        """Return what is recorded: notification, device, status and how many attempts."""
        columns = ("notification", "destination", "status", "attempts")
        with self.ledger.read() as connection:
            rows = connection.execute(sa.select(*(deliveries.c[name] for name in columns)))
            return [tuple(row) for row in rows]

    def since(self) -> dict[str, int]:
        """Return how far each session has heard, as the ledger knows it."""
        with self.ledger.read() as connection:
            return dict(connection.execute(sa.select(listeners.c.id, listeners.c.since)).all())


@asynccontextmanager
async def on_air(station: Station) -> AsyncIterator[Station]:
    try:
        yield station
    finally:
        await station.broadcast.stop()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[Callable[[Station], Awaitable[None]]], None]]:
    with open_ledger(blank_ledger(tmp_path)) as ledger:
        station = Station(ledger)

        def go(work: Callable[[Station], Awaitable[None]]) -> None:
            async def on() -> None:
                async with on_air(station):
                    await work(station)

            asyncio.run(on())

        yield go
        station.stores.close()


async def hear(one: Listener, connection: int) -> Item:
    item = await asyncio.wait_for(one.next(connection), 5)
    assert item is not None
    return item


async def until(reached: Callable[[], bool]) -> None:
    """Wait for the broadcast to come so far."""
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.02)


async def told_once(station: Station) -> Listener:
    """Return a listener that was sent `evt_1`, which it may tell about."""
    one = await station.listen(station.own)
    station.happen(station.own, 1)
    one.sending(await hear(one, one.connect()), NOW)
    return one


def fail_once(station: Station, monkeypatch: pytest.MonkeyPatch, error: Exception) -> asyncio.Event:
    """Let the next write to the ledger fail; the event tells that it has."""
    failed, write = asyncio.Event(), station.stores.write

    async def fail(*_: Any) -> None:
        monkeypatch.setattr(station.stores, "write", write)
        failed.set()
        raise error

    monkeypatch.setattr(station.stores, "write", fail)
    return failed


Run = Callable[[Callable[[Station], Awaitable[None]]], None]


def test_what_happens_after_the_beginning_is_told_in_order(run: Run) -> None:
    async def work(station: Station) -> None:
        station.happen(station.own, 1)
        one = await station.listen(station.own)
        made = [station.happen(station.own, number) for number in (2, 3)]
        connection = one.connect()
        assert [await hear(one, connection) for _ in made] == [(event, None) for event in made]

    run(work)


def test_a_second_listener_does_not_hear_what_was_before_it(run: Run) -> None:
    async def work(station: Station) -> None:
        first = await station.listen(station.own)
        early = station.happen(station.own, 1)
        second = await station.listen(station.own)
        late = station.happen(station.own, 2)
        assert await hear(first, first.connect()) == (early, None)
        assert await hear(second, second.connect()) == (late, None)

    run(work)


def test_a_platform_hears_of_its_accounts_by_their_names(run: Run) -> None:
    async def work(station: Station) -> None:
        platform, shop = await station.listen(station.own), await station.listen(station.shop)
        live = await station.listen(station.live)
        made = station.happen(station.shop, 1)
        assert await hear(shop, shop.connect()) == (made, None)
        assert await hear(platform, platform.connect()) == (made, station.shop.account)
        station.happen(station.own, 2)
        end = station.happen(station.live, 3)
        assert await hear(live, live.connect()) == (end, None)
        assert not shop._waiting

    run(work)


def test_logs_go_to_who_tails_them(run: Run) -> None:
    async def work(station: Station) -> None:
        tail = await station.listen(station.own, LOGS, LogFilters(filter_http_method=["GET"]))
        listening = await station.listen(station.own)
        mine = {"account": station.own.account}
        station.broadcast.tell_logs(
            [
                request_log(1, **mine),
                request_log(2, method="GET", account="acct_other"),
                request_log(3, method="GET", livemode=True, **mine),
                request_log(4, method="GET", **mine),
            ]
        )
        assert list(tail._waiting) == [request_log(4, method="GET", **mine)]
        assert not listening._waiting

    run(work)


def test_an_event_can_be_told_again(run: Run) -> None:
    async def work(station: Station) -> None:
        made = station.happen(station.own, 1)
        one = await station.listen(station.own)
        other = await station.listen(station.live)
        await station.broadcast.tell(station.own, made)
        await station.broadcast.tell(station.own, made, station.shop.account)
        connection = one.connect()
        assert await hear(one, connection) == (made, None)
        assert await hear(one, connection) == (made, station.shop.account)
        assert not other._waiting

    run(work)


@pytest.mark.parametrize("killed", [False, True])
def test_a_cli_goes_on_after_a_restart(run: Run, killed: bool) -> None:
    """What it has acknowledged is told again after a kill at most."""

    async def work(station: Station) -> None:
        filters = LogFilters(filter_http_method=["GET"])
        before = await station.listen(station.own, filters=filters)
        made = [station.happen(station.own, number) for number in (1, 2, 3)]
        connection = before.connect()
        for _ in made[:2]:
            before.sending(await hear(before, connection), NOW)
        station.broadcast.hear(before, Ack("evt_1"))
        if killed:
            assert station.broadcast._task is not None
            station.broadcast._task.cancel()
        else:
            await station.broadcast.stop()
        made.append(station.happen(station.own, 4))
        station.happen(station.live, 5)
        station.broadcast = station.another()
        await station.broadcast.start()
        after = await station.broadcast.find(before.id, station.own.account)
        assert after is not None
        assert (after.device, after.features) == (before.device, BOTH)
        assert not after.wants(request_log(method="POST"))
        connection = after.connect()
        for one in made if killed else made[1:]:
            assert await hear(after, connection) == (one, None)
            after.sending(Event(one, None), NOW)
            station.broadcast.hear(after, Ack(one.id))
        await station.broadcast.stop()
        assert station.since() == {before.id: 5}

    run(work)


def test_who_does_not_come_back_after_a_restart_is_forgotten(run: Run) -> None:
    async def work(station: Station) -> None:
        away = await station.listen(station.own)
        await station.broadcast.stop()
        station.broadcast = station.another()
        station.clock.advance(limits.CLI_KEPT_SECONDS * 1000)  # which the server was away for
        await station.broadcast.start()
        assert await station.broadcast.find(away.id, station.own.account) is not None
        station.clock.advance(limits.CLI_KEPT_SECONDS * 1000)
        await until(lambda: not station.since())
        assert await station.broadcast.find(away.id, station.own.account) is None

    run(work)


def test_what_others_hear_moves_a_cli_in_great_steps(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CLI_READ_ROWS_MAX", 3)

    async def work(station: Station) -> None:
        one = await station.listen(station.live)
        for number in range(5):
            station.happen(station.own, number)
        await until(lambda: station.since()[one.id] >= 3)

    run(work)


def test_what_the_cli_tells_is_recorded(run: Run) -> None:
    async def work(station: Station) -> None:
        one = await told_once(station)
        station.broadcast.hear(one, Ack("evt_1"))
        station.broadcast.hear(one, Ack("evt_none"))
        await station.broadcast.stop()
        assert station.told() == [("evt_1", one.device.id, "delivered", 0)]

    run(work)


def test_what_the_cli_tells_is_kept_until_it_is_recorded(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that does not answer is asked again; it is told as much as is kept at most."""

    async def work(station: Station) -> None:
        one = await told_once(station)
        failed = fail_once(station, monkeypatch, StoreError("The ledger does not answer."))
        station.broadcast.hear(one, Response(200, "ok", "evt_1"))
        await asyncio.wait_for(failed.wait(), 5)
        for _ in range(limits.CLI_WAITING_FRAMES_MAX):
            station.broadcast.hear(one, Ack("evt_1"))
        await station.broadcast.stop()
        assert station.told() == [("evt_1", one.device.id, "delivered", 1)]

    run(work)


def test_what_no_ledger_takes_is_not_told_for_ever(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would stand in the way of all that is heard after it."""

    async def work(station: Station) -> None:
        one = await told_once(station)
        failed = fail_once(station, monkeypatch, ValueError())
        station.broadcast.hear(one, Ack("evt_1"))
        await asyncio.wait_for(failed.wait(), 5)
        await station.broadcast.stop()
        assert station.told() == []

    run(work)


def test_a_ledger_that_does_not_answer_at_the_end_stands_in_nobodys_way(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(station: Station) -> None:
        async def fail(*_: Any) -> None:
            raise StoreError("The ledger does not answer.")

        one = await told_once(station)
        monkeypatch.setattr(station.stores, "write", fail)
        station.broadcast.hear(one, Ack("evt_1"))
        await station.broadcast.stop()

    run(work)


def test_only_so_many_listen_to_one_scope(run: Run) -> None:
    async def work(station: Station) -> None:
        for _ in range(limits.CLI_LISTENERS_MAX):
            (await station.listen(station.own)).connect()
        assert await station.broadcast.listen(station.own, None, "a", BOTH, EVERY_LOG) is None
        await station.listen(station.shop)

    run(work)


def test_who_has_left_first_makes_room(run: Run) -> None:
    async def work(station: Station) -> None:
        listeners = [await station.listen(station.own) for _ in range(limits.CLI_LISTENERS_MAX)]
        listeners[0].connect()
        listeners[1].disconnect(listeners[1].connect(), NOW + 1)
        await station.listen(station.own)
        gone = [
            one for one in listeners if not await station.broadcast.find(one.id, one.scope.account)
        ]
        assert len(gone) == 1
        assert gone[0] not in listeners[:2]

    run(work)


def test_who_stays_away_is_forgotten(run: Run) -> None:
    async def work(station: Station) -> None:
        there, away = [await station.listen(station.own) for _ in range(2)]
        there.connect()
        station.clock.advance(limits.CLI_KEPT_SECONDS * 1000)
        await station.listen(station.own)
        assert await station.broadcast.find(there.id, station.own.account) is there
        assert await station.broadcast.find(away.id, station.own.account) is None

    run(work)


def test_a_listener_is_found_by_its_id_and_its_account(run: Run) -> None:
    async def work(station: Station) -> None:
        one = await station.listen(station.own)
        assert await station.broadcast.find(one.id, station.own.account) is one
        assert await station.broadcast.find(one.id, station.shop.account) is None
        assert await station.broadcast.find("cliws_none", station.own.account) is None

    run(work)


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_who_listens_with_a_key_hears_nothing_once_it_is_over(run: Run, how: str) -> None:
    async def work(station: Station) -> None:
        over = station.key(station.own, expires_at=NOW + 60_000)
        good = station.key(station.own, expires_at=NOW + 60_001)
        ending, other, operator = [
            await station.listen(station.own, key=key) for key in (over, good, None)
        ]
        waiting = asyncio.create_task(ending.next(ending.connect()))
        if how == "revoked":
            station.revoke(over)
        else:
            station.clock.advance(60_000)
        assert await asyncio.wait_for(waiting, 60) is None
        assert await station.broadcast.find(ending.id, station.own.account) is None
        for one in (other, operator):
            assert await station.broadcast.find(one.id, station.own.account) is one
        made = station.happen(station.own, 1)
        assert await hear(other, other.connect()) == (made, None)
        await until(lambda: ending.id not in station.since())

    run(work)


def test_nobody_comes_back_with_a_key_that_is_over(run: Run) -> None:
    """It is asked about when somebody connects, be it right after the look before."""

    async def work(station: Station) -> None:
        key = station.key(station.own)
        one = await station.listen(station.own, key=key)
        assert await station.broadcast.find(one.id, station.own.account) is one
        station.revoke(key)
        assert await station.broadcast.find(one.id, station.own.account) is None

    run(work)


def test_a_key_that_was_revoked_while_the_server_was_away_is_over(run: Run) -> None:
    async def work(station: Station) -> None:
        key = station.key(station.own)
        one = await station.listen(station.own, key=key)
        await station.broadcast.stop()
        station.revoke(key)
        station.broadcast = station.another()
        await station.broadcast.start()
        assert await station.broadcast.find(one.id, station.own.account) is None

    run(work)


def test_a_session_ends_with_the_secret_that_made_its_own(run: Run) -> None:
    async def work(station: Station) -> None:
        one = await station.listen(station.own)
        waiting = asyncio.create_task(one.next(one.connect()))
        station.rotate()
        assert await asyncio.wait_for(waiting, 60) is None
        assert await station.broadcast.find(one.id, station.own.account) is None
        another = await station.listen(station.own)
        assert another.device.secret != one.device.secret
        assert another.device.id == one.device.id
        made = station.happen(station.own, 1)
        assert await hear(another, another.connect()) == (made, None)
        assert set(station.since()) == {another.id}

    run(work)


def test_nobody_comes_back_to_a_session_whose_secret_is_over(run: Run) -> None:
    async def work(station: Station) -> None:
        one = await station.listen(station.own)
        assert await station.broadcast.find(one.id, station.own.account) is one
        station.rotate()
        assert await station.broadcast.find(one.id, station.own.account) is None

    run(work)


def test_the_ledger_is_asked_once_about_the_keys_of_all(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(station: Station) -> None:
        asked: list[set[str]] = []
        looked = asyncio.Event()

        def note(connection: sa.Connection, ids: tuple[str, ...], now: int) -> set[str]:
            asked.append(set(ids))
            looked.set()
            return still_good(connection, ids, now)

        still_good = keys.still_good
        listening = [station.key(scope) for scope in (station.own, station.own, station.shop)]
        for key in (*listening, listening[0], None):
            await station.listen(station.own, key=key)
        monkeypatch.setattr(keys, "still_good", note)
        await asyncio.wait_for(looked.wait(), 5)
        assert asked == [set(listening)]

    run(work)


def test_a_device_keeps_its_id_and_its_secret(run: Run) -> None:
    async def work(station: Station) -> None:
        first, again = [await station.listen(station.own) for _ in range(2)]
        other = await station.broadcast.listen(station.own, None, "desktop", BOTH, EVERY_LOG)
        assert other is not None
        assert first.device == again.device
        assert len({first.device.id, other.device.id}) == 2
        assert len({first.device.secret, other.device.secret}) == 2

    run(work)
