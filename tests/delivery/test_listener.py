import asyncio

import pytest

from meterhouse import limits
from meterhouse.delivery.listener import Event, Item, Listener
from meterhouse.ledger.forwards import Forward
from meterhouse.wire.stripecli import Ack, Feature, LogFilters, Response
from tests.delivery.samples import NOW, event, listener, request_log

SNAPSHOT = event(payload="snapshot", type="customer.created", body={"object": {}})
READ = Forward(1, "evt_1", "cli_1", "laptop", NOW)


@pytest.mark.parametrize(
    ("item", "feature"),
    [(SNAPSHOT, "webhooks"), (event(), "v2_events"), (request_log(), "request_logs")],
)
def test_a_cli_hears_what_it_asked_for(item: Item, feature: Feature) -> None:
    assert listener(feature).wants(item)
    others: set[Feature] = {"webhooks", "v2_events", "request_logs"} - {feature}  # type: ignore[assignment]
    assert not listener(*others).wants(item)


def test_logs_are_filtered() -> None:
    tail = listener("request_logs", filters=LogFilters(filter_status_code_type=["400"]))
    assert not tail.wants(request_log())
    assert tail.wants(request_log(status=404))


async def send(one: Listener, connection: int) -> Item:
    """Take the next thing and have it sent."""
    item = await asyncio.wait_for(one.next(connection), 5)
    assert item is not None
    one.sending(item, NOW)
    return item


def test_what_is_offered_is_sent_in_order() -> None:
    async def run() -> list[Item]:
        one = listener("v2_events")
        one.offer(event(1))
        connection = one.connect()
        one.offer(event(2))
        return [await send(one, connection) for _ in range(2)]

    assert asyncio.run(run()) == [event(1), event(2)]


def test_a_new_connection_hears_again_what_was_not_acknowledged() -> None:
    async def run() -> list[Item]:
        one = listener("v2_events", "request_logs")
        first = one.connect()
        items: list[Item] = [event(1), event(2), request_log(3), request_log(4), event(5)]
        for item in items:
            one.offer(item)
        for _ in items[:4]:
            await send(one, first)
        one.hear(Ack("evt_1"), NOW)
        one.hear(Ack("resp_3"), NOW)
        second = one.connect()
        return [await send(one, second) for _ in range(3)]

    assert asyncio.run(run()) == [event(2), request_log(4), event(5)]


def test_what_is_heard_has_no_gap() -> None:
    async def run() -> list[int]:
        one = listener("v2_events")
        connection = one.connect()
        one.offered = 9
        far = [one.heard()]
        for number in (10, 12, 15):
            one.offer(event(number), number)
        one.offer(event(1))  # told again: it has no number
        one.offered = 20
        far.append(one.heard())
        for _ in range(4):
            await send(one, connection)
        for number in (12, 10, 1, 15):
            one.hear(Ack(f"evt_{number}"), NOW)
            far.append(one.heard())
        one.since = 25  # it came later than the last one that was offered
        return [*far, one.heard()]

    assert asyncio.run(run()) == [9, 9, 9, 14, 14, 20, 25]


def test_what_is_thrown_away_holds_nobody_back() -> None:
    async def run() -> list[int]:
        one = listener("v2_events")
        most = limits.CLI_WAITING_FRAMES_MAX
        for number in range(1, most + 4):
            one.offer(event(number), number)
        one.offered = most + 3
        far = [one.heard()]
        connection = one.connect()
        for _ in range(most):
            await send(one, connection)
        one.offer(event(most + 4), most + 4)
        await send(one, connection)  # so many are sent and not acknowledged
        one.offered = most + 4
        return [*far, one.heard()]

    assert asyncio.run(run()) == [3, 4]


def test_of_two_connections_the_newer_counts() -> None:
    async def run() -> None:
        one = listener("v2_events")
        first = one.connect()
        waiting = asyncio.create_task(one.next(first))
        await asyncio.sleep(0)
        second = one.connect()
        one.offer(event())
        assert await asyncio.wait_for(waiting, 60) is None
        assert await send(one, second) == event()
        one.disconnect(first, NOW)
        assert not one.gone(NOW + 10**9)

    asyncio.run(run())


def test_one_that_stays_away_is_gone() -> None:
    one = listener("v2_events")
    kept = limits.CLI_KEPT_SECONDS * 1000
    assert not one.gone(NOW + kept - 1)
    assert one.gone(NOW + kept)
    connection = one.connect()
    assert not one.gone(NOW + kept)
    one.disconnect(connection, NOW + 5)
    assert not one.gone(NOW + kept)
    assert one.gone(NOW + kept + 5)


def test_too_much_throws_the_oldest_away() -> None:
    dropped: list[int] = []

    async def run() -> Item:
        one = listener("v2_events", dropped=dropped)
        for number in range(limits.CLI_WAITING_FRAMES_MAX + 2):
            one.offer(event(number))
        return await send(one, one.connect())

    assert asyncio.run(run()) == event(2)
    assert len(dropped) == 2


def test_what_the_cli_tells_of_an_event() -> None:
    one = listener("v2_events")
    one.sending(event(), NOW)
    assert one.hear(Ack("evt_1"), NOW + 5) == READ
    answer = one.hear(Response(500, "x" * 10_000, "evt_1"), NOW + 5)
    assert answer == READ._replace(at=NOW + 5, status=500, response="x" * 5_000)
    assert one.hear(Response(200, "", "evt_1"), NOW + 6) == READ._replace(at=NOW + 6, status=200)
    answer = one.hear(Response(200, "a\0b", "evt_1"), NOW + 7)
    assert answer is not None
    assert answer.response == "a\N{REPLACEMENT CHARACTER}b"


def test_what_was_not_sent_is_not_believed() -> None:
    one = listener("v2_events", "request_logs")
    one.offer(event(1))
    one.sending(request_log(), NOW)
    for frame in (Ack("evt_1"), Ack("resp_1"), Ack(), Response(200, "", "evt_1")):
        assert one.hear(frame, NOW) is None


def test_only_so_many_are_remembered_as_sent() -> None:
    one = listener("v2_events")
    for number in range(limits.CLI_WAITING_FRAMES_MAX + 1):
        one.sending(event(number), NOW)
    assert one.hear(Ack("evt_0"), NOW) is None
    assert one.hear(Ack("evt_1"), NOW) == READ


def test_an_event_has_an_account_only_on_its_platform() -> None:
    assert event().account is None
    assert Event(event().notification, "acct_2").account == "acct_2"
