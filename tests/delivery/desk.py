"""A desk with a ledger, a clock that stands still, and a deliverer at work."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from meterhouse.clock import Clock, ManualClock
from meterhouse.config import Config
from meterhouse.delivery.attempt import Sender
from meterhouse.delivery.deliver import Deliverer
from meterhouse.ledger import deliveries, destinations, outbox
from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.deliveries import Attempt, Debt, Delivery, Owed
from meterhouse.ledger.destinations import Destination
from meterhouse.ledger.engine import open_ledger
from meterhouse.metering.model import Scope
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from meterhouse.wire.page import PageParams
from tests.blank import blank_ledger
from tests.ledger.samples import destination, snapshot

NOW = 1_795_262_400_000  # 2026-11-21T12:00:00Z
MINUTE = 60_000
HOUR = 60 * MINUTE
WAIT_SECONDS_MAX = 60
SECRET = "whsec_1"


def no_usage(*_: Any) -> None:
    raise AssertionError("delivery has no business with the usage store")


def owed(url: str, *, livemode: bool = False, **more: Any) -> Owed:
    """Return a snapshot event that is owed to `url`; `more` is said of the destination."""
    delivery = Delivery(
        id="del_1",
        scope=1,
        notification="evt_1",
        destination="we_1",
        status="pending",
        attempts=0,
        next_attempt_at=NOW,
        created=NOW,
    )
    to = destination(1, "we_1", url=url, **more)
    return Owed(
        Debt("del_1", NOW), delivery, to, snapshot(1, "evt_1"), Scope(1, "acct_1", livemode), 1
    )


class Desk:
    """What a test works with. `test` and `live` are the scopes of the account."""

    def __init__(self, stores: Stores, clock: ManualClock, deliverer: Deliverer) -> None:
        self.stores = stores
        self.clock = clock
        self.deliverer = deliverer
        self.events = 0

    async def scope(self, *, livemode: bool = False) -> int:
        def work(connection: sa.Connection) -> int:
            account = default_account(connection, NOW)
            return scopes_of(connection, account.id)[int(livemode)].id

        return await self.stores.write(work)

    async def listen(
        self, name: str, url: str, *, livemode: bool = False, **more: Any
    ) -> Destination:
        """Make a destination that listens to every snapshot event."""
        made = destination(await self.scope(livemode=livemode), name, url=url, **more)
        await self.stores.write(destinations.create_destination, made)
        return made

    async def emit(self, count: int = 1, *, livemode: bool = False) -> None:
        """Let something happen."""
        scope = await self.scope(livemode=livemode)
        numbers = range(self.events, self.events + count)
        self.events += count

        def work(connection: sa.Connection) -> None:
            for number in numbers:
                event = snapshot(scope, f"evt_{number}", created=self.clock.now())
                outbox.emit(connection, event)

        await self.stores.write(work)

    async def advance(self, milliseconds: int) -> None:
        """Let time go by."""
        self.clock.advance(milliseconds)
        self.deliverer.wake()

    async def all(self, to: str | None = None) -> list[Delivery]:
        """Return the deliveries, oldest first."""

        def work(connection: sa.Connection) -> list[Delivery]:
            page = PageParams(limit=100)
            found = [
                row
                for scope in (1, 2)
                for row in (
                    deliveries.list_deliveries(connection, scope, page, destination=to)
                    or ([], False)
                )[0]
            ]
            return found[::-1]

        return await self.stores.read(work)

    async def attempts(self, delivery: str) -> list[Attempt]:
        """Return the attempts of a delivery."""
        return (await self.stores.read(deliveries.attempts_of, [delivery]))[delivery]

    async def until(
        self, done: Callable[[list[Delivery]], bool], to: str | None = None
    ) -> list[Delivery]:
        """Wait until the deliveries are as `done` says; return them."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not done(found := await self.all(to)):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.005)
        return found


@asynccontextmanager
async def desk(
    folder: Path, timekeeper: Clock | None = None, **settings: str
) -> AsyncIterator[Desk]:
    """Open a desk on the ledger of a folder; the deliverer works until the block ends.

    The timekeeper is the clock itself, unless another one is given.
    """
    config = Config.read({"data_dir": str(folder), **settings}, {})
    clock = ManualClock(NOW)
    timekeeper = timekeeper or clock
    with open_ledger(blank_ledger(folder)) as ledger:
        stores = Stores(ledger, no_usage)
        deliverer = Deliverer(stores, clock, timekeeper, Metrics(), Sender(config, clock))
        stores.listen(deliverer.wake)
        deliverer.start()
        try:
            yield Desk(stores, clock, deliverer)
        finally:
            await deliverer.stop()
            stores.close()
