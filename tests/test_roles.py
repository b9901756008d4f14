"""Processes with roles, as real ones: two that answer and two that work, on one pair of stores."""

import signal
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import stripe
from typer.testing import CliRunner

from meterhouse.cli.main import app
from tests.clickhouse import Double
from tests.postgresql import PostgreSQL
from tests.server import TEST_KEY, Server, serving_roles
from tests.stores import new_stores

SECONDS_MAX = 60
DAY = 86_400
ROLES = ("api", "api", "worker", "worker")


class Cluster(NamedTuple):
    """Servers of both roles, and a client of Stripe's SDK for each that answers."""

    apis: list[Server]
    workers: list[Server]
    clients: list[stripe.StripeClient]


@pytest.fixture
def cluster(
    tmp_path: Path, postgresql_server: PostgreSQL, clickhouse_server: Double
) -> Iterator[Cluster]:
    """Start all at once, on a ledger that is new."""
    stores = {
        **new_stores(postgresql_server, clickhouse_server),
        "api_keys": TEST_KEY,
        "partitions": "4",
    }

    with serving_roles(tmp_path, stores, ROLES) as every:
        clients = [
            stripe.StripeClient(TEST_KEY, base_addresses={"api": one.url}, max_network_retries=5)
            for one in every[:2]
        ]
        yield Cluster(every[:2], every[2:], clients)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_two_servers_take_counts_once_though_a_worker_is_killed(cluster: Cluster) -> None:
    """Given two of each role, when a worker is killed, then the other does what was its own.

    Customers, meters and identifiers of one server are known to the other at once. After the end
    of all, the books balance, and a worker that is told to stop stops.
    """
    first, second = cluster.clients
    meter = first.v1.billing.meters.create(
        {
            "display_name": "Calls",
            "event_name": "calls",
            "default_aggregation": {"formula": "sum"},
        }
    ).id
    customer = second.v1.customers.create({"name": "Ada"}).id
    now = int(time.time())
    start = now // DAY * DAY - DAY

    def send(numbers: range) -> None:
        for number, client in zip(numbers, cycle(cluster.clients)):
            client.v1.billing.meter_events.create(
                {
                    "event_name": "calls",
                    "identifier": f"call-{number}",
                    "timestamp": now,
                    "payload": {"stripe_customer_id": customer, "value": "2"},
                }
            )

    def total(client: stripe.StripeClient) -> float:
        asked = {"customer": customer, "start_time": start, "end_time": start + 3 * DAY}
        found = client.v1.billing.meters.event_summaries.list(meter, asked)  # type: ignore[arg-type]
        return sum(one.aggregated_value for one in found.data)

    send(range(20))
    for client in cluster.clients:
        with pytest.raises(stripe.InvalidRequestError, match="identifier"):
            client.v1.billing.meter_events.create(
                {
                    "event_name": "calls",
                    "identifier": "call-0",
                    "payload": {"stripe_customer_id": customer, "value": "2"},
                }
            )
    cluster.workers[0].process.kill()
    send(range(20, 40))
    for client in cluster.clients:
        wait_for(lambda client=client: total(client) == 80)  # type: ignore[misc]
    checked = CliRunner().invoke(app, ["verify", "--data-dir", str(cluster.apis[0].data_dir)])
    assert checked.exit_code == 0, checked.output
    for one in (*cluster.apis, cluster.workers[1]):
        assert httpx.get(f"{one.url}/readyz").json() == {"status": "ready"}
        one.process.send_signal(signal.SIGTERM)
    for one in (*cluster.apis, cluster.workers[1]):
        assert one.process.wait(SECONDS_MAX) == 0, one.log()
        assert not one.errors(), one.log()
