"""The real program on a machine whose clock jumps: libfaketime is the clock of its processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from meterhouse.errors import MeterhouseError
from tests.server import TEST_KEY, serving

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
WAIT_SECONDS_MAX = 60
HALF_A_YEAR = 180  # days
YEARS_AGO = -2190
IDENTIFIERS = [f"id {number}" for number in range(7)]
V1 = "/v1/billing/meter_events"
VERSION = {"Stripe-Version": "2026-10-28.endive"}

pytestmark = pytest.mark.skipif(
    LIBRARY is None, reason="the machine's clock is faked with libfaketime: Debian's `faketime`"
)


class Machine:
    """A folder for servers, and a clock that is wrong by what `jump` says."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self._offset = folder / "offset"
        self.jump(0)
        self.settings = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_CACHE_DURATION": "1",  # to look at each call takes most of a core
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, days: int, client: httpx.Client | None = None) -> None:
        """Set the clock of every process, and wait until a server tells that it has jumped."""
        written = self._offset.with_suffix(".new")
        written.write_text(f"{days:+}d")
        written.rename(self._offset)  # nobody reads half of the file
        if client is not None:
            then = datetime.now(UTC) + timedelta(days)
            until(lambda: abs(_date(client) - then) < timedelta(1))

    def command(self, *arguments: str) -> str:
        """Run the command line; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "meterhouse", *arguments, "--data-dir", self.data],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={name: text for name, text in os.environ.items() if "METERHOUSE" not in name},
        )
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[httpx.Client]:
        """Run a server until the block ends; give a client."""
        with (
            serving(self.data) as server,
            httpx.Client(
                base_url=server.url, auth=(TEST_KEY, ""), headers=VERSION, trust_env=False
            ) as client,
        ):
            yield client


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    for name, text in made.settings.items():
        monkeypatch.setenv(name, text)
    return made


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not done():
        if time.monotonic() > deadline:
            raise MeterhouseError("what was waited for has not come about")
        time.sleep(0.05)


def _date(client: httpx.Client) -> datetime:
    return parsedate_to_datetime(client.get("/healthz").headers["date"])


def make(client: httpx.Client, path: str, **data: str) -> dict[str, Any]:
    made: dict[str, Any] = client.post(path, data=data).raise_for_status().json()
    return made


def single(client: httpx.Client, customer: str, identifier: str) -> httpx.Response:
    data = {
        "event_name": "calls",
        "identifier": identifier,
        "payload[value]": "1",
        "payload[stripe_customer_id]": customer,
    }
    return client.post(V1, data=data)


def stream(client: httpx.Client, token: str, customer: str, *identifiers: str) -> httpx.Response:
    payload = {"value": "1", "stripe_customer_id": customer}
    events = [{"event_name": "calls", "identifier": one, "payload": payload} for one in identifiers]
    return client.post(
        "/v2/billing/meter_event_stream",
        json={"events": events},
        auth=None,  # type: ignore[arg-type]
        headers={"Authorization": f"Bearer {token}"},
    )


def session(client: httpx.Client) -> str:
    made = client.post("/v2/billing/meter_event_session", json={}).raise_for_status()
    token: str = made.json()["authentication_token"]
    return token


def set_up(client: httpx.Client) -> str:
    """Make the meter `calls` and a customer; return its id."""
    make(
        client,
        "/v1/billing/meters",
        event_name="calls",
        display_name="Calls",
        **{"default_aggregation[formula]": "sum"},
    )
    customer: str = make(client, "/v1/customers")["id"]
    return customer


def status(client: httpx.Client) -> dict[str, int]:
    found: dict[str, int] = client.get("/meterhouse/v1/status").json()
    return found


def test_a_clock_that_jumps_ahead_frees_no_identifier(machine: Machine) -> None:
    """Given a jump by half a year, while running and at a start, then seven events stay seven."""
    *alone, streamed = IDENTIFIERS
    with machine.serving() as client:
        customer = set_up(client)
        assert all(single(client, customer, one).is_success for one in alone)
        assert stream(client, session(client), customer, streamed).is_success
        machine.jump(HALF_A_YEAR, client)
        assert {single(client, customer, one).status_code for one in alone} == {400}
    for offset in (HALF_A_YEAR, 0):
        machine.jump(offset)
        with machine.serving() as client:  # the first sweep is that of the start
            assert {single(client, customer, one).status_code for one in alone} == {400}
            assert stream(client, session(client), customer, *IDENTIFIERS).is_success
            until(lambda: status(client)["pending"] == 0)
            assert status(client)["accepted"] == len(IDENTIFIERS)
            assert client.get("/readyz").is_success
    assert "The books balance." in machine.command("verify")


def test_a_clock_that_is_behind_stops_events_until_it_is_right(machine: Machine) -> None:
    """Given a dead battery, then senders are to retry, whether the server starts or runs."""
    with machine.serving() as client:
        customer, token = set_up(client), session(client)
        assert single(client, customer, "a").is_success
        machine.jump(YEARS_AGO, client)
        for answer in (single(client, customer, "b"), stream(client, token, customer, "b")):
            assert (answer.status_code, answer.headers["stripe-should-retry"]) == (503, "true")
        assert client.get("/readyz").status_code == 503
        machine.jump(0, client)
        assert single(client, customer, "b").is_success
        assert stream(client, token, customer, "c").is_success
        assert client.get("/readyz").is_success
    machine.jump(YEARS_AGO)
    with machine.serving() as client:
        assert single(client, customer, "d").status_code == 503
        assert "run `meterhouse clock accept`" in client.get("/readyz").json()["reason"]
        shown = machine.command("clock", "show").splitlines()[1].split("\t")
        assert shown[0] < shown[1]
        machine.command("clock", "accept")
        until(lambda: client.get("/readyz").is_success)
        assert single(client, customer, "d").is_success
