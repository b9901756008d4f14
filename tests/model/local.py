"""The whole service in this process, asked over its ASGI application, on a clock of ours."""

import asyncio
import threading
from collections.abc import Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from meterhouse.clock import ManualClock
from meterhouse.config import Config
from meterhouse.ledger import accounts, tallies, timekeeping
from meterhouse.logs import note_nothing
from tests.blank import blank_ledger
from tests.metering.samples import NOW
from tests.whole import Whole

T = TypeVar("T")

KEY = "sk_test_model"
SECONDS_MAX = 60
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class LocalServer:
    """A running Meterhouse with an event loop of its own; `stop` ends both."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(NOW)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local")
        self._thread.start()
        blank_ledger(folder)
        config = Config.read({"data_dir": folder, "api_keys": KEY}, {})
        self._meterhouse = Whole(config, self.clock, note_nothing)
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self._meterhouse.asgi),
            base_url="http://meterhouse",
            auth=(KEY, ""),
        )
        self._await(self._meterhouse.start())

    def stop(self) -> None:
        """Drain what is pending and close the stores."""
        self._await(self._client.aclose())
        self._await(self._meterhouse.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def move_to(self, instant: int) -> None:
        """Set the clock, forwards or back, and have it believed at once."""
        self.clock.set(instant)
        stores, timekeeper = self._meterhouse._stores, self._meterhouse.services.timekeeper
        self._await(stores.write(timekeeping.settle, instant, self.clock.uptime()))
        self._await(timekeeper.look())

    def open_account(self) -> str:
        """Make a connected account, whose books are empty; return its id."""
        created = accounts.create_account
        account = self._await(self._meterhouse._stores.write(created, None, self.clock.now()))
        return account.id

    def tallies(self, account: str) -> dict[str, int]:
        """Return the books of an account's test mode; rejections by their code."""

        async def read() -> dict[str, int]:
            stores = self._meterhouse._stores
            test, _ = await stores.read(accounts.scopes_of, account)
            lines = await stores.read(tallies.read)
            return {
                line.code or line.outcome: events
                for line, events in lines.items()
                if line.scope == test.id
            }

        return self._await(read())

    def verify(self) -> dict[str, Any]:
        """Run a verification to its end."""

        async def run() -> dict[str, Any]:
            verification = self._meterhouse.services.verification._verification
            verification.start()
            assert verification._task is not None
            await verification._task
            return verification.state()

        return self._await(run())

    def ask(
        self, method: str, path: str, account: str, form: dict[str, str], **headers: str
    ) -> tuple[httpx.Response, dict[str, Any]]:
        """Send one request on behalf of `account`; return the answer and its document."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        read = method == "GET"
        response = self._await(
            self._client.request(
                method,
                path,
                headers={"Stripe-Account": account, **sent},
                params=form if read else None,
                data=None if read else form,
            )
        )
        return response, _decode(response.content)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS_MAX)
