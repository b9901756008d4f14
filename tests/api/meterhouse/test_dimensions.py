import asyncio
from threading import Event
from typing import IO, Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.jobs import rebuild
from meterhouse.ledger import dimensions
from meterhouse.ledger.accounts import scopes_by_id
from meterhouse.usage.rebuild import Month, Positions, Slots, add_month, find_months
from meterhouse.usage.store import UsageStore
from tests.api.local import DAY, HOUR, NOW, LocalServer
from tests.api.meterhouse.test_usage import Books

KEYS = "dimension_payload_keys[]"
MISSING = "missing_dimension_payload_keys"
GROUPED = "meters[0][dimension_group_by_keys][]"


@pytest.fixture
def books(local: LocalServer) -> Books:
    return Books(local)


def change(books: Books, meter: str, *keys: str) -> dict[str, Any]:
    path = f"/meterhouse/v1/meters/{meter}/dimensions"
    return books.local.create(path, data={KEYS: list(keys)})


def slots_of(books: Books) -> dict[tuple[int, tuple[str, ...]], tuple[int, int]]:
    """Read what the rollup has: by version and dimensions, how many events and their usage.

    The slots of each customer come to what those of all together do.
    """

    def read(store: Any) -> list[dict[str, Any]]:
        sql = """SELECT customer = '' AS together, version, dimensions, sum(events) AS events,
            toString(sum(value)) AS value
            FROM usage_slots WHERE version > 0
            GROUP BY together, version, dimensions HAVING events != 0"""
        rows: list[dict[str, Any]] = store.columns(sql, {}).to_pylist()
        return rows

    rows = books.local.run(books.local.meterhouse.services.stores.usage(read))
    each, together = (
        {
            (row["version"], tuple(row["dimensions"])): (row["events"], int(row["value"]))
            for row in rows
            if row["together"] == everybody
        }
        for everybody in (False, True)
    )
    assert each == together
    return each


def grouped(books: Books, meter: str, key: str) -> dict[str, float]:
    return {
        row["dimensions"][key]: row["value"]
        for row in books.rows(meter, starts_at=NOW // DAY * DAY - 40 * DAY, **{GROUPED: key})
    }


def test_a_key_is_added(books: Books) -> None:
    meter = books.meter(**{KEYS: "model"})
    books.send(0, "1", model="a", region="eu")
    books.send(1, "2", NOW - 30 * DAY, model="a", region="us")
    books.send(1, "4", NOW - HOUR, model="b")
    books.cancel(books.send(2, "8", model="b", region="us"))
    told = change(books, meter, "model", "region")
    assert told == {
        "object": "meterhouse.meter_dimensions",
        "change": {
            "completed_at": NOW,
            "created": NOW,
            "dimension_payload_keys": ["model", "region"],
            "events_done": 4,
            "events_total": 4,
            "status": "complete",
        },
        "dimension_payload_keys": ["model", "region"],
        "livemode": False,
        "meter": meter,
    }
    assert grouped(books, meter, "region") == {"": 4, "eu": 1, "us": 2}
    assert grouped(books, meter, "model") == {"a": 3, "b": 4}
    shown = books.local.request("GET", f"/v1/billing/meters/{meter}").json()
    assert shown["dimension_payload_keys"] == ["model", "region"]


def test_events_that_come_later_need_the_new_keys(books: Books) -> None:
    meter = books.meter()
    books.send(0, "1", region="eu")
    change(books, meter, "region")
    books.send(0, "2", region="eu")
    books.send(0, "4")
    books.cancel(books.send(0, "8", region="eu"))
    assert grouped(books, meter, "region") == {"eu": 3}
    found = books.local.request("GET", "/meterhouse/v1/meter_events", params={"code": MISSING})
    assert [event["value"] for event in found.json()["data"]] == ["4"]


def test_keys_can_go(books: Books) -> None:
    meter = books.meter(**{KEYS: "model"})
    books.send(0, "1", model="a")
    path = f"/meterhouse/v1/meters/{meter}/dimensions"
    told = books.local.create(path, data={"dimension_payload_keys": ""})
    assert told["dimension_payload_keys"] is None
    books.send(0, "2")
    assert [row["value"] for row in books.rows(meter)] == [3]


def test_a_meter_without_slots_changes_at_once(books: Books) -> None:
    meter = books.meter(**{"default_aggregation[formula]": "last"})
    books.send(0, "7", region="eu")
    assert change(books, meter, "region")["change"]["status"] == "complete"
    assert grouped(books, meter, "region") == {"eu": 7}


def test_the_same_keys_are_no_change(books: Books) -> None:
    meter = books.meter(**{KEYS: "model"})
    assert change(books, meter, "model")["change"] is None


def test_two_changes_at_a_time_are_refused(books: Books) -> None:
    meter = books.meter()
    books.local.stop_job("rebuild")
    path = f"/meterhouse/v1/meters/{meter}/dimensions"
    begun = dimensions.DimensionChange(
        scope=1, meter=meter, version=2, keys=("model",), created=NOW * 1000
    )
    books.local.run(books.local.meterhouse.services.stores.write(dimensions.begin, begun))
    answer = books.local.request("POST", path, data={KEYS: "region"})
    assert answer.status_code == 400
    assert "already" in answer.json()["error"]["message"]
    assert books.local.request("GET", path).json()["change"]["status"] == "running"


def test_former_versions_go_a_while_later(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REBUILD_LOOK_SECONDS", 0.01)
    meter = books.meter(**{KEYS: "model"})
    books.send(0, "1", model="a", region="eu")
    change(books, meter, "region")
    assert set(slots_of(books)) == {(1, ("a",)), (2, ("eu",))}
    books.local.clock.advance(limits.REBUILD_FORMER_SECONDS * 1000)
    books.local.meterhouse.jobs.wake("rebuild")
    stores = books.local.meterhouse.services.stores
    while books.local.run(stores.read(dimensions.oldest_uncleared)):
        pass
    assert slots_of(books) == {(2, ("eu",)): (1, 1)}
    assert [row["value"] for row in books.rows(meter)] == [1]  # told by what has no dimensions


@pytest.mark.parametrize("path", ["/v1/billing/analytics/meter_usage", "/meterhouse/v1/usage"])
def test_who_waits_while_a_meter_switches_is_told_everything(
    books: Books, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    switching, go_on = Event(), Event()

    def find(store: UsageStore, slots: Slots, among: Positions | None) -> list[Month]:
        if among is None:  # of the last pass, while processing stands still
            switching.set()
            go_on.wait(60)
        return find_months(store, slots, among)

    monkeypatch.setattr(rebuild, "find_months", find)
    meter = books.meter()
    books.send(0, "1", region="eu")
    params = {"customer": books.customers[0], "starts_at": NOW - DAY, "ends_at": NOW + DAY}

    async def ask() -> Any:
        changed = f"/meterhouse/v1/meters/{meter}/dimensions"
        change = asyncio.create_task(books.local.ask("POST", changed, data={KEYS: "region"}))
        await asyncio.to_thread(switching.wait, 10)
        event = {"event_name": "calls", "payload[value]": "2", "payload[region]": "us"}
        event["payload[stripe_customer_id]"] = books.customers[0]
        await books.local.ask("POST", "/v1/billing/meter_events", data=event)
        asked = asyncio.create_task(
            books.local.ask("GET", path, params={**params, "meters[0][meter]": meter})
        )
        await asyncio.sleep(0.2)  # until it waits for the event
        go_on.set()
        await change
        return await asked

    answer = books.local.run(ask())
    assert answer.headers["meterhouse-consistency"] == "strong"
    assert [row["value"] for row in answer.json()["data"]] == [3]


def test_a_file_that_takes_longer_than_former_slots_stay_is_made_again(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REBUILD_FORMER_SECONDS", 0)
    local = books.local.meterhouse.services
    write = local.exports.write
    taken: list[IO[bytes]] = []

    async def write_slowly(*args: Any) -> IO[bytes]:
        if not taken:
            path = f"/meterhouse/v1/meters/{meter}/dimensions"
            await books.local.ask("POST", path, data={KEYS: "region"})
            local.signals.send("rebuild")
            while await local.stores.read(dimensions.oldest_uncleared):
                pass
        taken.append(await write(*args))
        return taken[-1]

    monkeypatch.setattr(local.exports, "write", write_slowly)
    meter = books.meter(**{KEYS: "model"})
    books.send(0, "1", model="a", region="eu")
    assert [row["value"] for row in books.rows(meter)] == [1]
    assert [file.closed for file in taken] == [True, True]


@pytest.mark.parametrize("begun", [True, False])
def test_a_month_that_a_crash_left_half_done_is_made_again(books: Books, *, begun: bool) -> None:
    meter = books.meter()
    local = books.local.meterhouse.services
    books.send(0, "1", region="eu")
    books.cancel(books.send(1, "2", region="eu"))
    books.rows(meter)
    books.local.stop_job("rebuild")
    new = dimensions.DimensionChange(
        scope=1, meter=meter, version=2, keys=("region",), created=NOW * 1000
    )
    stores, run = local.stores, books.local.run
    run(stores.write(dimensions.begin, new))
    made = run(stores.read(dimensions.oldest_running))
    assert made is not None
    slots = Slots(run(stores.read(scopes_by_id))[1], meter, 2, ("region",))
    position = books.local.meterhouse._processor.stored_position
    if begun:  # all of it is there, as just before the switch, and it is not known
        run(stores.usage(add_month, slots, 202611, None))
    among = Positions(0, position)
    [month] = run(stores.usage(find_months, slots, among))
    run(stores.usage(add_month, slots, month.number, among))
    row = dimensions.RebuiltMonth(month.number, position, month.events, begun=begun)
    run(stores.write(dimensions.save_months, made, [row]))
    books.send(2, "4", region="us")

    async def go_on() -> None:
        books.local.start_job("rebuild")
        await books.local.wait(_nothing_runs)

    run(go_on())
    assert grouped(books, meter, "region") == {"eu": 1, "us": 4}
    found = slots_of(books)
    version = 3 if begun else 2  # whoever has begun it may go on adding to another one
    assert (found[version, ("eu",)], found[version, ("us",)]) == ((1, 1), (1, 4))
    assert {one for one, _ in found} == {1, version}  # and what they were before


def test_a_rebuild_that_is_paused_begins_no_month(books: Books) -> None:
    """Given a rebuild, when it is paused, then no store says of a month what the other does not."""
    meter = books.meter()
    local = books.local.meterhouse.services
    books.send(0, "1", region="eu")
    books.rows(meter)
    books.local.stop_job("rebuild")
    new = dimensions.DimensionChange(
        scope=1, meter=meter, version=2, keys=("region",), created=NOW * 1000
    )
    books.local.run(local.stores.write(dimensions.begin, new))

    async def go_on() -> None:
        async with books.local.meterhouse._writing_months:
            books.local.start_job("rebuild")
            change = await local.stores.read(dimensions.oldest_running)
            # That it has counted what is to do comes just before the first month.
            while change is not None and change.events_total is None:
                change = await local.stores.read(dimensions.oldest_running)
            assert change is not None
            await asyncio.sleep(0.1)
            assert await local.stores.read(dimensions.months, change) == []
        await books.local.wait(_nothing_runs)

    books.local.run(go_on())
    assert grouped(books, meter, "region") == {"eu": 1}


def _nothing_runs(connection: sa.Connection) -> bool:
    return dimensions.oldest_running(connection) is None
