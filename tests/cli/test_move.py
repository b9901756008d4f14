"""Both stores moved from a folder to PostgreSQL and a ClickHouse server, and back.

The program is the real one, and so is PostgreSQL; ClickHouse is the double.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from meterhouse.ledger import partitions
from meterhouse.ledger.engine import open_ledger
from tests.cli.samples import ENVIRONMENT, meterhouse
from tests.clickhouse import Double
from tests.postgresql import PostgreSQL
from tests.server import TEST_KEY, Server, serving, start
from tests.stores import new_stores

DAY = 86_400
VERSION = "2026-10-28.endive"
METERS: dict[str, dict[str, str]] = {
    "sum": {"dimension_payload_keys[]": "model"},
    "count": {},
    "last": {},
}

# Where a move is killed, one after the other: each time it goes on with what there is.
BACK = [("meterhouse.usage.store:UsageStore.insert", 2), ("meterhouse.cli.move:_copy", 1)]
POINTS = [
    ("meterhouse.usage.identity:begin_filling", 1),
    ("meterhouse.usage.store:UsageStore.insert", 3),
    ("meterhouse.usage.move:copy", 1),
    ("meterhouse.ledger.move:copy", 1),
    ("meterhouse.cli.move:_copy", 1),
    ("meterhouse.cli.move:_verify", 1),
]


class Places(NamedTuple):
    """Settings that tell where both stores are."""

    data_dir: Path
    stores: dict[str, str]

    def options(self, to: str = "") -> list[str]:
        """Return the options of a command that mean these places."""
        named = self.stores or {"data_dir": str(self.data_dir)}
        return [f"--{to}{name.replace('_', '-')}={text}" for name, text in named.items()]


class Sender:
    """Whoever uses a server, by its API."""

    def __init__(self, server: Server) -> None:
        self._url = server.url

    def ask(
        self, method: str, path: str, form: dict[str, Any] | None = None, status: int = 200
    ) -> dict[str, Any]:
        parameters, data = (form, None) if method == "GET" else (None, form)
        answer = httpx.request(
            method, self._url + path, auth=(TEST_KEY, ""), params=parameters, data=data
        )
        assert answer.status_code == status, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def stream(self, *events: dict[str, Any]) -> None:
        answer = httpx.post(
            f"{self._url}/v2/billing/meter_event_stream",
            json={"events": events},
            headers={"Stripe-Version": VERSION, "Authorization": f"Bearer {TEST_KEY}"},
        )
        assert answer.status_code == 200, answer.text

    def event(self, customer: str, name: str, identifier: str, status: int = 200) -> None:
        payload = {"stripe_customer_id": customer, "value": "2.5", "model": "small"}
        form = {"event_name": name, "identifier": identifier}
        form |= {f"payload[{key}]": text for key, text in payload.items()}
        self.ask("POST", "/v1/billing/meter_events", form, status)


def use(sender: Sender) -> None:
    """Do something of everything that a sender can do."""
    for formula, more in METERS.items():
        form = {"display_name": formula, "event_name": formula}
        form |= {"default_aggregation[formula]": formula, **more}
        sender.ask("POST", "/v1/billing/meters", form)
    ada, bob = (sender.ask("POST", "/v1/customers", {"name": name})["id"] for name in ("A", "B"))
    webhook = {"url": "http://127.0.0.1:9/nobody", "enabled_events[]": "*"}
    sender.ask("POST", "/v1/webhook_endpoints", webhook)
    for formula in METERS:
        for number in range(3):
            sender.event(ada, formula, f"{formula}-{number}")
    cancel = {"event_name": "sum", "type": "cancel", "cancel[identifier]": "sum-0"}
    sender.ask("POST", "/v1/billing/meter_event_adjustments", cancel)
    payload = {"stripe_customer_id": bob, "value": "1", "model": "large"}
    fine = {"event_name": "sum", "identifier": "stream-1", "payload": payload}
    stranger = {**payload, "stripe_customer_id": "cus_no"}
    sender.stream(
        fine,
        fine,
        {**fine, "identifier": "stream-2", "event_name": "nothing"},
        {**fine, "identifier": "stream-3", "payload": stranger},
        {**fine, "identifier": "stream-4", "timestamp": _ago(20)},
    )
    sender.ask("DELETE", f"/v1/customers/{bob}")


def told(sender: Sender) -> dict[str, Any]:
    """Return what a server tells of all that."""
    lists = ("/v1/customers", "/v1/billing/meters", "/v1/webhook_endpoints", "/v1/events")
    seen = {path: sender.ask("GET", path)["data"] for path in lists}
    today = int(time.time()) // DAY * DAY
    for meter in seen["/v1/billing/meters"]:
        question: dict[str, Any] = {"starts_at": today - 30 * DAY, "ends_at": today + DAY}
        question |= {"meters[0][meter]": meter["id"], "value_grouping_window": "day"}
        if meter["display_name"] == "sum":
            question["meters[0][dimension_group_by_keys][]"] = "model"
        seen[meter["id"]] = sender.ask("GET", "/meterhouse/v1/usage", question)["data"]
    events = sender.ask("GET", "/meterhouse/v1/meter_events", {"limit": 100})["data"]
    seen["events"] = sorted((one["identifier"], one["outcome"]) for one in events)
    return seen


def _ago(days: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * DAY))


class Used(NamedTuple):
    """Where the stores of a server are that was used and stopped, and what it told."""

    places: Places
    told: dict[str, Any]
    verified: str


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    folder = tmp_path_factory.mktemp("used")
    with serving(folder) as server:
        sender = Sender(server)
        use(sender)
        seen = told(sender)
    made = meterhouse("accounts", "create", "--data-dir", folder)
    assert made.exit_code == 0, made.output
    places = Places(folder, {})
    return Used(places, seen, verified(places))


@pytest.fixture
def servers(tmp_path: Path, postgresql_server: PostgreSQL, clickhouse_server: Double) -> Places:
    return Places(tmp_path, new_stores(postgresql_server, clickhouse_server))


def verified(places: Places) -> str:
    result = meterhouse("verify", *places.options())
    assert result.exit_code == 0, result.output
    return result.stdout


def moved(source: Places, target: Places) -> str:
    result = meterhouse("move", *source.options(), *target.options("to-"))
    assert result.exit_code == 0, result.output
    assert "The books balance." in result.stdout
    return result.stderr


def killed(source: Places, target: Places, point: str, number: int) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "tests.cli.mover", point, str(number)),
            *("move", *source.options(), *target.options("to-")),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={name: text for name, text in os.environ.items() if "METERHOUSE" not in name},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def refuses(places: Places) -> None:
    """Look at a target that is half there."""
    result = meterhouse("verify", *places.options())
    assert result.exit_code == 2
    assert "is being filled by `meterhouse move`" in result.stderr, result.output


def test_there_and_back_everything_is_as_it_was(
    used: Used, servers: Places, tmp_path: Path
) -> None:
    before = verified(used.places)
    told_next = moved(used.places, servers)
    assert "METERHOUSE_DATABASE_URL=… METERHOUSE_CLICKHOUSE_URL=… meterhouse serve" in told_next
    assert verified(used.places) == verified(servers) == before
    with open_ledger(servers.stores["database_url"]) as ledger, ledger.read() as connection:
        assert partitions.count(connection) > 1
    with serving(tmp_path / "node", **servers.stores) as server:
        sender = Sender(server)
        assert told(sender) == used.told
        customer = used.told["/v1/customers"][0]["id"]
        sender.event(customer, "sum", "sum-1", status=400)  # is taken
        sender.event(customer, "sum", "new")
        seen = told(sender)
        assert ("new", "accepted") in seen["events"]
    back = Places(tmp_path / "back", {})
    for point, number in BACK:
        killed(servers, back, point, number)
        refuses(back)
    assert f"meterhouse serve --data-dir {back.data_dir}" in moved(servers, back)
    with serving(back.data_dir) as server:
        sender = Sender(server)
        assert told(sender) == seen
        sender.event(customer, "sum", "new", status=400)
        sender.event(customer, "sum", "newer")
    verified(back)


def test_a_move_that_is_killed_goes_on(used: Used, servers: Places) -> None:
    """Given a kill at each point, no half of a target opens, and at the end all is there once."""
    for point, number in POINTS:
        killed(used.places, servers, point, number)
        refuses(servers)
    moved(used.places, servers)
    assert verified(servers) == used.verified
    again = meterhouse("move", *used.places.options(), *servers.options("to-"))
    assert again.exit_code == 1
    assert "have been moved" in again.stderr


REFUSED = {
    "one store": (["--to-database-url=postgresql://x/y"], 2, "The usage store would stay"),
    "nowhere": ([], 2, "The ledger would stay where it is"),
    "folder to folder": (["--to-data-dir=/elsewhere"], 2, "Both usage stores are folders"),
}


@pytest.mark.parametrize(("options", "code", "sentence"), REFUSED.values(), ids=REFUSED)
def test_places_that_make_no_sense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, sentence: str
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "METERHOUSE_TO_DATA_DIR", str(tmp_path))
    result = meterhouse("move", "--data-dir", tmp_path, *options)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("back", [False, True])
def test_what_a_killed_server_has_left_is_processed_first(
    servers: Places, tmp_path: Path, back: bool
) -> None:
    source, target = Places(tmp_path / "killed", {}), servers
    if back:
        source, target = target, source
    with_key = {"api_keys": TEST_KEY}
    server = start(tmp_path / "node" if back else source.data_dir, with_key | source.stores)
    try:
        use(Sender(server))
    finally:
        server.process.kill()
        server.process.communicate()
    assert "Processing what has been acknowledged" in moved(source, target)
    line = verified(target).splitlines()[1].split("\t")
    assert line[2:] == ["14", "11", "1", "2", "0", "1"]


def test_a_target_that_is_not_new_stays_as_it_is(used: Used, servers: Places) -> None:
    assert meterhouse("accounts", "create", *servers.options()[:1]).exit_code == 0
    result = meterhouse("move", *used.places.options(), *servers.options("to-"))
    assert result.exit_code == 1
    assert "hold something already" in result.stderr


def test_a_source_that_a_server_has_is_not_moved(server: Server, servers: Places) -> None:
    result = meterhouse("move", "--data-dir", server.data_dir, *servers.options("to-"))
    assert result.exit_code == 1
    assert "Another Meterhouse processes this ledger" in result.stderr
