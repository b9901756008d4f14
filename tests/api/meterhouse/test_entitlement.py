"""The spending gate: whether a customer may use more of a meter, and what is left."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from meterhouse import limits
from tests.api.local import DAY, NOW, LocalServer, local_server
from tests.server import TEST_KEY

PATH = "/meterhouse/v1/entitlement"
STRONG = {"Meterhouse-Consistency": "strong"}

_numbers = count()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Return a server in which each test has a meter and customers of its own."""
    with local_server(tmp_path_factory.mktemp("shared")) as opened:
        yield opened


class World:
    """A meter, and a customer of it."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        self.name = f"gated_{next(_numbers)}"
        self.meter = local.meter(self.name)
        self.customer = local.customer()

    def limit(self, *steps: str, hard: bool = True, **extra: str) -> str:
        """Draw a line, which is a hard limit unless told otherwise."""
        data = {
            "title": "No more",
            "meter": self.meter,
            "hard_limit": str(hard).lower(),
            **{f"steps[{number}]": step for number, step in enumerate(steps)},
        }
        made: str = self.local.create("/meterhouse/v1/alerts", data=data | extra)["id"]
        return made

    def use(self, value: str, **extra: str | int) -> None:
        data: dict[str, Any] = {
            "event_name": self.name,
            "payload[value]": value,
            "payload[stripe_customer_id]": self.customer,
        }
        self.local.create("/v1/billing/meter_events", data=data | extra)

    def ask(self, **params: Any) -> dict[str, Any]:
        answer = self.answer(**params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Meterhouse-Consistency"] == "strong"
        document: dict[str, Any] = answer.json()
        return document

    def answer(self, **params: Any) -> httpx.Response:
        asked = {"customer": self.customer, "meter": self.meter} | params
        return self.local.request("GET", PATH, params=asked, headers=STRONG)

    async def glance(self) -> dict[str, Any]:
        """Ask as an application does before each call, from within the event loop."""
        asked = {"customer": self.customer, "meter": self.meter}
        answer = await self.local.ask("GET", PATH, params=asked)
        assert answer.headers["Meterhouse-Consistency"] == "eventual"
        document: dict[str, Any] = answer.json()
        return document


def test_whoever_has_no_limit_may_go_on(local: LocalServer) -> None:
    world = World(local)
    world.use("5")
    found = world.ask()
    assert 0 <= found.pop("age_milliseconds") < 60_000
    assert found.pop("complete_until") <= NOW
    assert found == {
        "object": "meterhouse.entitlement",
        "alerts": [],
        "credits": [],
        "customer": world.customer,
        "entitled": True,
        "livemode": False,
        "meter": world.meter,
        "reasons": [],
    }


def test_a_hard_limit_ends_it_and_an_alert_does_not(local: LocalServer) -> None:
    world = World(local)
    warned = world.limit("2", hard=False)
    limited = world.limit("4", "7.5")
    world.use("7.25")
    before = world.ask()
    assert before["entitled"]
    assert [(one["alert"], one["remaining"], one["reached"]) for one in before["alerts"]] == [
        (warned, "0", True),
        (limited, "0.25", False),
    ]
    world.use("0.5")
    after = world.ask()
    assert (after["entitled"], after["reasons"]) == (False, ["hard_limit_reached"])
    assert after["alerts"][1] == {
        "alert": limited,
        "gte": "7.5",
        "hard_limit": True,
        "reached": True,
        "remaining": "0",
        "resets_at": None,
        "title": "No more",
        "used": "7.75",
    }


def test_a_limit_of_a_day_counts_that_day(local: LocalServer) -> None:
    world = World(local)
    world.limit("10", recurrence="day")
    world.use("10", timestamp=NOW - DAY)
    found = world.ask()
    assert (found["entitled"], found["alerts"][0]["used"]) == (True, "0")
    assert found["alerts"][0]["resets_at"] == NOW // DAY * DAY + DAY


def test_others_limits_are_not_ones_own(local: LocalServer) -> None:
    world = World(local)
    world.limit("1", customer=local.customer())
    world.use("5")
    assert world.ask()["entitled"]


def test_credits_that_are_required(local: LocalServer) -> None:
    world = World(local)
    none = world.ask(require_credits="true")
    assert (none["entitled"], none["reasons"]) == (False, ["credits_used_up"])
    grant = {
        "amount[type]": "monetary",
        "amount[monetary][currency]": "usd",
        "amount[monetary][value]": 1_000,
        "applicability_config[scope][price_type]": "metered",
        "customer": world.customer,
    }
    local.create("/v1/billing/credit_grants", data=grant)
    some = world.ask(require_credits="true")
    assert (some["entitled"], some["credits"]) == (True, [{"currency": "usd", "remaining": 1_000}])
    _subscribe(world, unit_amount=100)
    world.use("10")
    spent = world.ask(require_credits="true")
    assert spent["credits"] == [{"currency": "usd", "remaining": 0}]
    assert (spent["entitled"], spent["reasons"]) == (False, ["credits_used_up"])
    assert world.ask()["entitled"]  # nobody said that credits are all there is


def test_credits_for_other_prices_do_not_count(local: LocalServer) -> None:
    world, other = World(local), World(local)
    grant = {
        "amount[type]": "monetary",
        "amount[monetary][currency]": "usd",
        "amount[monetary][value]": 1_000,
        "applicability_config[scope][prices][0][id]": _price(other, 100),
        "customer": world.customer,
    }
    local.create("/v1/billing/credit_grants", data=grant)
    assert world.ask()["credits"] == []


def test_it_comes_from_memory_and_is_found_anew_behind_the_answer(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ENTITLEMENT_AGE_SECONDS_MAX", 600)
    world = World(local)
    world.limit("1")
    assert world.ask()["entitled"]
    world.use("1")
    local.run(local.meterhouse.services.progress.settle(20))

    async def refused() -> bool:
        first = await world.glance()
        assert first["entitled"]  # young enough to be given
        async with asyncio.timeout(20):
            while (await world.glance())["entitled"]:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
        return True

    assert local.run(refused())


def test_many_who_ask_at_once_have_it_found_once(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(local)
    found = []
    known = local.meterhouse.services.entitlements
    find_some = known._find_some

    async def counted(*args: Any) -> None:
        found.append(args)
        await find_some(*args)

    monkeypatch.setattr(known, "_find_some", counted)

    async def ask() -> None:
        await asyncio.gather(*(world.glance() for _ in range(20)))

    local.run(ask())
    assert len(found) == 1


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"customer": "cus_nope"}, "No such customer: 'cus_nope'"),
        ({"meter": "mtr_nope"}, "No such billing meter: 'mtr_nope'"),
        ({"meter": ""}, "meter"),
        ({"x": "y"}, "Received unknown parameter: x"),
    ],
)
@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
def test_what_is_not_there_is_refused(
    local: LocalServer, path: str, params: dict[str, str], sentence: str
) -> None:
    world = World(local)
    asked = {"customer": world.customer, "meter": world.meter} | params
    answer = local.request("GET", path, params=asked)
    assert answer.status_code in (400, 404)
    assert sentence in answer.json()["error"]["message"]


def test_a_deleted_customer_is_forgotten(local: LocalServer) -> None:
    world = World(local)
    assert world.ask()["entitled"]
    assert local.request("DELETE", f"/v1/customers/{world.customer}").status_code == 200
    assert world.answer().status_code in (400, 404)
    asked = {"customer": world.customer, "meter": world.meter}
    assert local.request("GET", PATH, params=asked).status_code in (400, 404)


def test_a_stream_tells_what_changes(local: LocalServer) -> None:
    world = World(local)
    world.limit("3")
    services = local.meterhouse.services

    async def listen() -> list[bool]:
        listener = Listener(local, world)
        heard = [await listener.next()]
        data = {
            "event_name": world.name,
            "payload[value]": "3",
            "payload[stripe_customer_id]": world.customer,
        }
        await local.ask("POST", "/v1/billing/meter_events", data=data)
        heard.append(await listener.next())
        await listener.go_away()
        return [one["entitled"] for one in heard]

    assert local.run(listen()) == [True, False]
    assert services.entitlements.listeners == 0


def test_a_stream_ends_with_the_server(local: LocalServer) -> None:
    world = World(local)
    known = local.meterhouse.services.entitlements

    async def listen() -> bool:
        listener = Listener(local, world)
        await listener.next()
        known.stopping.set()
        try:
            return await listener.has_ended()
        finally:
            known.stopping.clear()

    assert local.run(listen())


def test_streams_are_so_many_and_no_more(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(local)
    monkeypatch.setattr(limits, "ENTITLEMENT_LISTENERS_MAX", 0)
    asked = {"customer": world.customer, "meter": world.meter}
    answer = local.request("GET", f"{PATH}/stream", params=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit")


def _price(world: World, unit_amount: int) -> str:
    data = {
        "currency": "usd",
        "unit_amount": unit_amount,
        "product_data[name]": "Calls",
        "recurring[interval]": "month",
        "recurring[usage_type]": "metered",
        "recurring[meter]": world.meter,
    }
    price: str = world.local.create("/v1/prices", data=data)["id"]
    return price


def _subscribe(world: World, unit_amount: int) -> None:
    data = {"customer": world.customer, "items[0][price]": _price(world, unit_amount)}
    world.local.create("/v1/subscriptions", data=data)


class Listener:
    """Whoever hears a stream, piece by piece."""

    def __init__(self, local: LocalServer, world: World) -> None:
        self._gone = asyncio.Event()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        secret = b64encode(f"{TEST_KEY}:".encode())
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"{PATH}/stream",
            "raw_path": f"{PATH}/stream".encode(),
            "query_string": f"customer={world.customer}&meter={world.meter}".encode(),
            "headers": [(b"authorization", b"Basic " + secret)],
            "client": ("127.0.0.1", 1),
            "http_version": "1.1",
            "extensions": {},
        }
        self._task = asyncio.create_task(local.meterhouse.asgi(scope, self._receive, self._send))

    async def next(self) -> dict[str, Any]:
        """Return what is told next."""
        async with asyncio.timeout(20):
            while (piece := await self._pieces.get()) is not None:
                if piece.startswith(b"data: "):
                    told: dict[str, Any] = json.loads(piece[6:])
                    return told
        raise AssertionError("the stream has ended")

    async def has_ended(self) -> bool:
        async with asyncio.timeout(20):
            while await self._pieces.get() is not None:
                pass
        return True

    async def go_away(self) -> None:
        self._gone.set()
        await self._task

    async def _receive(self) -> dict[str, Any]:
        if self._asked:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": b""}

    _asked = False

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self._pieces.put_nowait(message["body"] if message.get("more_body") else None)
