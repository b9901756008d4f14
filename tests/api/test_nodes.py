"""Two servers that answer and one that works, on one pair of stores, within this process."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest
import sqlalchemy as sa

from meterhouse.api.v1 import customers
from meterhouse.ledger import tables
from tests.api.local import NOW, LocalServer
from tests.api.samples import error_of
from tests.clickhouse import Double
from tests.postgresql import PostgreSQL
from tests.server import LIVE_KEY
from tests.stores import new_stores

EVENTS, ADJUSTMENTS = "/v1/billing/meter_events", "/v1/billing/meter_event_adjustments"
ROLES = ("worker", "api", "api")


class Nodes(NamedTuple):
    """The two that answer, and what runs them."""

    left: LocalServer
    right: LocalServer
    meter: str
    customer: str

    def both(self, ask: Callable[[LocalServer], Awaitable[httpx.Response]]) -> list[httpx.Response]:
        """Ask both at the same time."""

        async def body() -> list[httpx.Response]:
            return [*await asyncio.gather(ask(self.left), ask(self.right))]

        return self.left.run(body())

    def usage(self, server: LocalServer) -> tuple[str, str]:
        """Return the customer's usage as one of them tells it, and how certain it is."""
        path = f"/v1/billing/meters/{self.meter}/event_summaries"
        times = {"start_time": str(NOW - 3_600), "end_time": str(NOW + 60)}
        answer = server.request("GET", path, params={"customer": self.customer, **times})
        [summary] = answer.json()["data"]
        return str(summary["aggregated_value"]), answer.headers["meterhouse-consistency"]


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory,
    postgresql_server: PostgreSQL,
    clickhouse_server: Double,
) -> Iterator[Nodes]:
    tmp_path = tmp_path_factory.mktemp("nodes")
    stores = {
        **new_stores(postgresql_server, clickhouse_server),
        "partitions": "4",
        "limits": "stripe",
        "rate_limits": "basic.test=1000,basic.live=8",
    }
    with ExitStack() as opened:
        runner = opened.enter_context(asyncio.Runner())
        every = []
        for number, role in enumerate(ROLES):
            one = LocalServer(runner, tmp_path / f"{number}", stores | {"role": role})
            one.run(one.meterhouse.start())
            opened.callback(one.run, one.meterhouse.stop())
            every.append(one)
        _, left, right = every
        meter = left.meter()
        customer = right.create("/v1/customers", data={"name": "Ada"})["id"]
        yield Nodes(left, right, meter, customer)


def event(nodes: Nodes, identifier: str, value: str = "1") -> dict[str, str]:
    payload = {"payload[stripe_customer_id]": nodes.customer, "payload[value]": value}
    return {"event_name": "calls", "identifier": identifier, **payload}


def test_two_servers_answer_as_one(nodes: Nodes) -> None:
    """Identifiers, reads of what the other took, cancellations, keys, and how fresh it is."""
    left, right = nodes.left, nodes.right
    answers = nodes.both(lambda one: one.ask("POST", EVENTS, data=event(nodes, "a", "2")))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    left.create(EVENTS, data=event(nodes, "b", "40"))
    assert nodes.usage(right) == ("42", "strong")
    assert nodes.usage(left) == ("42", "strong")

    cancel = {"event_name": "calls", "type": "cancel", "cancel[identifier]": "b"}
    answers = nodes.both(lambda one: one.ask("POST", ADJUSTMENTS, data=cancel))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.json()["cancel"]["identifier"] for answer in answers}) == 1
    with left.meterhouse.ledger.read() as connection:
        assert len(connection.execute(sa.select(tables.adjustments)).all()) == 1
    assert nodes.usage(left) == ("2", "strong")

    key = {"Idempotency-Key": "one"}
    data = event(nodes, "c")
    answers = nodes.both(lambda one: one.ask("POST", EVENTS, data=data, headers=key))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 1
    assert nodes.usage(right) == ("3", "strong")

    now = left.clock.now()
    asked = {"meters[0][meter]": nodes.meter, "customer": nodes.customer}
    times = {"starts_at": str(NOW - 3_600), "ends_at": str(NOW + 60)}
    answer = right.request("GET", "/v1/billing/analytics/meter_usage", params=asked | times)
    assert answer.json()["data_refreshed_at"] == now // 1_000


def test_a_key_of_a_customer_that_is_made_at_both_makes_one(nodes: Nodes) -> None:
    key = {"Idempotency-Key": "two"}
    data = {"name": "Grace"}
    answers = nodes.both(lambda one: one.ask("POST", "/v1/customers", data=data, headers=key))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.json()["id"] for answer in answers}) == 1
    answers = nodes.both(lambda one: one.ask("POST", EVENTS, data=event(nodes, "d"), headers=key))
    assert {error_of(answer, 400)["type"] for answer in answers} == {"idempotency_error"}


def test_events_that_took_a_key_in_the_middle_of_a_change_undo_it(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees it: the sender of the change hears 409, and may try again."""
    announce, key = customers._announce, {"Idempotency-Key": "three"}
    right, loop = nodes.right, nodes.right.loop

    def take_the_key(*args: Any) -> None:
        monkeypatch.setattr(customers, "_announce", announce)
        sent = right.ask("POST", EVENTS, data=event(nodes, "e"), headers=key)
        answer = asyncio.run_coroutine_threadsafe(sent, loop).result(30)
        assert answer.status_code == 200
        announce(*args)

    monkeypatch.setattr(customers, "_announce", take_the_key)
    answer = nodes.left.request("POST", "/v1/customers", data={"name": "Eve"}, headers=key)
    assert error_of(answer, 409)["code"] == "idempotency_key_in_use"
    found = nodes.left.request("GET", "/v1/customers").json()["data"]
    assert "Eve" not in [one["name"] for one in found]


def test_changes_at_both_go_one_after_the_other(nodes: Nodes) -> None:
    """Of two that exclude each other one is refused in Stripe's words, and nothing is lost."""
    meters = "/v1/billing/meters"
    form = {"display_name": "Hits", "event_name": "hits", "default_aggregation[formula]": "sum"}
    answers = nodes.both(lambda one: one.ask("POST", meters, data=form))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    path = f"/v1/customers/{nodes.customer}"
    sides = {id(nodes.left): "left", id(nodes.right): "right"}
    nodes.both(lambda one: one.ask("POST", path, data={f"metadata[{sides[id(one)]}]": "1"}))
    assert nodes.left.request("GET", path).json()["metadata"] == {"left": "1", "right": "1"}
    dimensions = f"/meterhouse/v1/meters/{nodes.meter}/dimensions"
    keys = {"dimension_payload_keys[]": "region"}
    answers = nodes.both(lambda one: one.ask("POST", dimensions, data=keys))
    assert sorted(answer.status_code for answer in answers) in ([200, 200], [200, 400])


def test_each_server_lets_its_share_through(nodes: Nodes) -> None:
    for server in (nodes.left, nodes.right):
        while server.meterhouse._work.nodes() < 2:
            server.run(asyncio.sleep(0.1))
        asked = [server.request("GET", "/v1/account", key=LIVE_KEY) for _ in range(5)]
        assert [answer.status_code for answer in asked] == [200] * 4 + [429]


def test_a_server_that_was_taken_for_dead_is_back_by_itself(nodes: Nodes) -> None:
    left = nodes.left
    with left.meterhouse.ledger.write() as connection:
        connection.execute(sa.delete(tables.nodes))
    answer = left.request("POST", EVENTS, data=event(nodes, "f"))
    assert answer.status_code == 503
    left.run(left.meterhouse.common.heartbeat.beat())
    assert left.request("POST", EVENTS, data=event(nodes, "f")).status_code == 200
