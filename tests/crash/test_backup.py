"""A back-up of the real program under load, restored elsewhere."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import httpx

from tests.server import TEST_KEY, Server, serving, start

VERSION = "2026-10-28.endive"
SENDERS = 2
STREAM_EVENTS = 20
BEFORE = 500  # events that are acknowledged before the back-up begins
DURING = 100  # and at least after that
ANSWER_SECONDS_MAX = 60


def meterhouse(*arguments: str | Path) -> str:
    """Run the command; return what it printed on standard output."""
    command = [sys.executable, "-m", "meterhouse", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


class Acknowledged:
    """The identifiers of the events that a server has acknowledged."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._identifiers: list[str] = []

    def add(self, identifiers: list[str]) -> None:
        with self._changed:
            self._identifiers += identifiers
            self._changed.notify_all()

    def now(self) -> list[str]:
        with self._changed:
            return list(self._identifiers)

    def wait_for(self, events: int) -> None:
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self._identifiers) >= events, ANSWER_SECONDS_MAX
            )


class Sender(Thread):
    """Sends streams and single events, one request after the other, until it is stopped."""

    def __init__(self, name: str, server: Server, customer: str, told: Acknowledged) -> None:
        super().__init__()
        self._identifiers = (f"{name}-{number}" for number in count())
        self._customer = customer
        self._told = told
        self._http = httpx.Client(
            base_url=server.url,
            headers={"Authorization": f"Bearer {TEST_KEY}", "Stripe-Version": VERSION},
            timeout=ANSWER_SECONDS_MAX,
        )
        self.stopped = False

    def run(self) -> None:
        with self._http:
            while not self.stopped:
                self._stream([next(self._identifiers) for _ in range(STREAM_EVENTS)])
                self._single(next(self._identifiers))

    def _stream(self, identifiers: list[str]) -> None:
        events = [
            {
                # One of a stream is rejected: it belongs to no meter.
                "event_name": "calls" if number else "nobody",
                "identifier": identifier,
                "payload": {"stripe_customer_id": self._customer, "value": "3"},
            }
            for number, identifier in enumerate(identifiers)
        ]
        answer = self._http.post("/v2/billing/meter_event_stream", json={"events": events})
        assert answer.is_success, answer.text
        self._told.add(identifiers)

    def _single(self, identifier: str) -> None:
        form = {
            "event_name": "calls",
            "identifier": identifier,
            "payload[stripe_customer_id]": self._customer,
            "payload[value]": "3",
        }
        answer = self._http.post("/v1/billing/meter_events", data=form)
        assert answer.is_success, answer.text
        self._told.add([identifier])


@contextmanager
def loaded(server: Server) -> Iterator[Acknowledged]:
    """Send events from several threads until the block ends; every request is answered then."""
    form = {"display_name": "Calls", "event_name": "calls", "default_aggregation[formula]": "sum"}
    ask(server, "POST", "/v1/billing/meters", form)
    customer = ask(server, "POST", "/v1/customers", {"name": "A"})["id"]
    told = Acknowledged()
    senders = [Sender(f"s{number}", server, customer, told) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        yield told
    finally:
        for sender in senders:
            sender.stopped = True
        for sender in senders:
            sender.join()


def ask(
    server: Server, method: str, path: str, form: dict[str, Any] | None = None, **params: Any
) -> dict[str, Any]:
    answer = httpx.request(
        method, server.url + path, auth=(TEST_KEY, ""), data=form, params=params, timeout=60
    )
    assert answer.is_success, answer.text
    document: dict[str, Any] = answer.json()
    return document


def events_of(server: Server) -> Counter[str]:
    """Count the events by their identifiers, whatever became of them."""
    found: Counter[str] = Counter()
    page: dict[str, Any] = {"limit": 100}
    while True:
        document = ask(server, "GET", "/meterhouse/v1/meter_events", **page)
        found.update(event["identifier"] for event in document["data"])
        if not document["has_more"]:
            return found
        page["starting_after"] = document["data"][-1]["id"]


def test_a_back_up_under_load_has_every_event_from_before_exactly_once(tmp_path: Path) -> None:
    """Given senders that never pause, when a back-up is made beside them and the server killed.

    Then elsewhere every event that was acknowledged before the back-up is there exactly once, none
    that was never acknowledged, and the books balance.
    """
    archive = tmp_path / "meterhouse.tar.zst"
    server = start(tmp_path / "data", {"api_keys": TEST_KEY, "log_level": "warning"})
    try:
        with loaded(server) as told:
            told.wait_for(BEFORE)
            before = told.now()
            printed = meterhouse("backup", archive, "--data-dir", server.data_dir)
            told.wait_for(len(before) + DURING)
        acknowledged = set(told.now())
    finally:
        server.process.kill()
        server.process.communicate()
    assert printed == f"{archive}\n"
    assert archive.stat().st_mode & 0o777 == 0o600

    elsewhere = tmp_path / "elsewhere"
    meterhouse("restore", archive, "--data-dir", elsewhere)
    assert meterhouse("verify", "--data-dir", elsewhere).endswith("The books balance.\n")
    with serving(elsewhere, api_keys=TEST_KEY) as restored:
        found = events_of(restored)
    assert not set(before) - found.keys()
    assert not found.keys() - acknowledged
    assert set(found.values()) == {1}
    # What the back-up kept beside the server's own files is gone with the next start.
    with serving(server.data_dir, api_keys=TEST_KEY):
        assert not (server.data_dir / "snapshot").exists()
        assert not list((server.data_dir / "usage" / "shadow").glob("*/"))
