"""The real program after a standstill: what was due meanwhile is done at once, and no more."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from meterhouse.clock import SystemClock
from meterhouse.errors import MeterhouseError
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.tables import timekeeping
from tests.server import TEST_KEY, Server, serving

TRIAL_SECONDS = 5
WAIT_SECONDS_MAX = 60
HOUR = 3_600_000


def client(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, auth=(TEST_KEY, ""), trust_env=False)


def create(server: httpx.Client, path: str, **data: Any) -> dict[str, Any]:
    made: dict[str, Any] = server.post(f"/v1/{path}", data=data).raise_for_status().json()
    return made


def subscribe(server: httpx.Client) -> str:
    """Subscribe somebody whose trial is over in a moment; return the id."""
    customer = create(server, "customers")["id"]
    price = create(
        server,
        "prices",
        currency="usd",
        unit_amount=1000,
        **{"recurring[interval]": "month", "product_data[name]": "Seats"},
    )["id"]
    made = create(
        server,
        "subscriptions",
        customer=customer,
        trial_end=int(time.time()) + TRIAL_SECONDS,
        **{"items[0][price]": price},
    )
    subscription: str = made["id"]
    return subscription


def an_hour_earlier(folder: Path, column: str) -> None:
    """Change what the ledger knows of the last look at the clock, while no server runs."""
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger, ledger.write() as connection:
        values = {column: timekeeping.c[column] - HOUR}
        connection.execute(timekeeping.update().values(values))


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not done():
        if time.monotonic() > deadline:
            raise MeterhouseError("what was waited for has not come about")
        time.sleep(0.1)


@pytest.mark.skipif(not SystemClock().uptime().boot, reason="nobody names the boot of this machine")
def test_what_was_due_while_the_server_was_off_is_billed_at_once(tmp_path: Path) -> None:
    """Given a clock that has jumped, then nobody is billed; and if time has passed, at once."""
    with serving(tmp_path) as server, client(server) as asked:
        subscription = f"/v1/subscriptions/{subscribe(asked)}"
    an_hour_earlier(tmp_path, "reached")  # so it has jumped since, by an hour
    with serving(tmp_path) as server, client(server) as asked:
        until(lambda: asked.post(subscription, data={"metadata[a]": "b"}).status_code == 429)
        assert asked.get(subscription).json()["status"] == "trialing"
        assert asked.get("/meterhouse/v1/status").json()["clock"] == "ahead"
        assert "it has jumped. If it is wrong, set it right." in server.log()
    an_hour_earlier(tmp_path, "uptime_ms")  # so the machine was up for that hour
    with serving(tmp_path) as server, client(server) as asked:
        until(lambda: bool(asked.get(subscription).json()["status"] == "active"))
        assert asked.get("/meterhouse/v1/status").json()["clock"] == "right"
        assert asked.post(subscription, data={"metadata[a]": "b"}).is_success
