"""Deliveries to real receivers, by a clock that the test moves."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import stripe

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.errors import StoreError
from meterhouse.ledger import deliveries, destinations, outbox
from meterhouse.ledger.deliveries import Delivery, Owed, Status
from tests.delivery.desk import HOUR, MINUTE, NOW, SECRET, desk
from tests.receiver import Receiver, Reply, receiving

DAY = 24 * HOUR


def have(status: Status, count: int = 1) -> Callable[[list[Delivery]], bool]:
    return lambda found: [one.status for one in found].count(status) == count


def tried(count: int) -> Callable[[list[Delivery]], bool]:
    return lambda found: sum(one.attempts for one in found) == count


def failing(_: Any) -> Reply:
    return Reply(500, b"oh no")


def test_what_happens_is_delivered_at_once(tmp_path: Path) -> None:
    async def body() -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_1", f"{receiver.url}/1")
            await at.listen("we_2", f"{receiver.url}/2", enabled_events=["customer.*"])
            await at.emit(3)
            found = await at.until(have("delivered", 3))
            assert {one.destination for one in found} == {"we_1"}
            (attempt,) = await at.attempts(found[0].id)
            assert (attempt.at, attempt.status, attempt.response) == (NOW, 200, "ok")

    with receiving() as receiver:
        asyncio.run(body())
        for heard in receiver.heard:
            signature = heard.headers["Stripe-Signature"]
            assert heard.path == "/1"
            assert stripe.WebhookSignature.verify_header(heard.body.decode(), signature, SECRET)


def test_a_receiver_that_fails_for_an_hour(tmp_path: Path) -> None:
    """Given 500 for an hour in live mode, then the attempts are at the stated minutes."""
    minutes = [0, 1, 3, 7, 15, 31, 63]

    async def body() -> None:
        async with desk(tmp_path, private_destinations="open") as at:
            await at.listen("we_1", receiver.url, livemode=True)
            await at.emit(livemode=True)
            for number, minute in enumerate(minutes[:-1]):
                (found,) = await at.until(tried(number + 1))
                assert found.next_attempt_at == NOW + minutes[number + 1] * MINUTE
                await at.advance((minutes[number + 1] - minute) * MINUTE - 1)
                await at.advance(1)
                if minutes[number + 1] >= 60:
                    receiver.reply = lambda _: Reply()
            (found,) = await at.until(have("delivered"))
            made = await at.attempts(found.id)
            assert [(one.at - NOW) // MINUTE for one in made] == minutes
            assert [one.status for one in made] == [500] * 6 + [200]

    with receiving() as receiver:
        receiver.reply = failing
        asyncio.run(body())
        signed = {heard.headers["Stripe-Signature"].partition(",")[0] for heard in receiver.heard}
        assert len(signed) == len(minutes)  # each attempt is signed anew


@pytest.mark.parametrize(("livemode", "attempts"), [(False, 3), (True, 13)])
def test_it_is_given_up_in_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, livemode: bool, attempts: int
) -> None:
    async def body() -> Delivery:
        async with desk(tmp_path, private_destinations="open") as at:
            await at.listen("we_1", receiver.url, livemode=livemode)
            await at.emit(livemode=livemode)
            for number in range(1, attempts):
                (found,) = await at.until(tried(number))
                assert found.next_attempt_at is not None
                await at.advance(found.next_attempt_at - at.clock.now())
            (found,) = await at.until(have("failed"))
            assert at.clock.now() - NOW <= 3 * DAY
            await at.advance(30 * DAY)
        return found

    with receiving() as receiver:
        receiver.reply = failing
        found = asyncio.run(body())
        assert len(receiver.heard) == attempts
    assert (found.attempts, found.next_attempt_at) == (attempts, None)
    assert "gave up the delivery" in caplog.text


@pytest.mark.parametrize("reply", [Reply(0), Reply(302, b"", {"Location": "/elsewhere"})])
def test_what_is_no_success_is_tried_again(tmp_path: Path, reply: Reply) -> None:
    async def body() -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_1", receiver.url)
            await at.emit()
            (found,) = await at.until(tried(1))
            assert (found.status, found.next_attempt_at) == ("pending", NOW + HOUR)

    with receiving() as receiver:
        receiver.reply = lambda _: reply
        asyncio.run(body())
        assert [heard.path for heard in receiver.heard] == ["/"]


def test_a_slow_destination_delays_no_other(tmp_path: Path) -> None:
    """Given a destination that does not answer, then it fills its own places and no others."""

    async def body() -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_slow", slow.url)
            await at.listen("we_quick", quick.url)
            await at.emit(50)
            await at.until(have("delivered", 50), to="we_quick")
            assert len(slow.heard) == limits.DELIVERY_DESTINATION_ATTEMPTS_MAX
            slow.released.set()
            await at.until(have("delivered", 50), to="we_slow")

    with receiving() as slow, receiving() as quick:
        slow.reply = slow.hold
        asyncio.run(body())


def test_a_failing_destination_is_tried_one_delivery_at_a_time(tmp_path: Path) -> None:
    most = 0
    now = 0

    async def body() -> None:
        nonlocal now, most
        async with desk(tmp_path) as at:
            await at.listen("we_1", receiver.url)
            await at.emit()
            await at.until(tried(1))
            attempt = at.deliverer._sender.attempt

            async def count(owed: Owed) -> Any:
                nonlocal now, most
                now += 1
                most = max(now, most)
                made = await attempt(owed)
                now -= 1
                return made

            at.deliverer._sender.attempt = count  # type: ignore[method-assign]
            await at.emit(10)
            await at.until(tried(11))
            assert most == 1
            receiver.reply = lambda _: Reply()
            await at.emit(10)
            await at.until(have("delivered", 10))

    with receiving() as receiver:
        receiver.reply = failing
        asyncio.run(body())
    assert most <= limits.DELIVERY_DESTINATION_ATTEMPTS_MAX


def test_all_places_taken_is_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERY_ATTEMPTS_MAX", 2)

    async def body() -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_1", receiver.url)
            await at.listen("we_2", receiver.url)
            await at.emit(10)
            await at.until(have("delivered", 20))

    with receiving() as receiver:
        asyncio.run(body())


@pytest.mark.parametrize("change", [{"enabled": False}, {"deleted_at": NOW}])
def test_nothing_goes_to_a_destination_that_is_gone(tmp_path: Path, change: dict[str, Any]) -> None:
    """Given a retry that is owed, when its destination is gone by then, then it is cancelled."""

    async def body() -> None:
        async with desk(tmp_path) as at:
            one = await at.listen("we_1", receiver.url)
            await at.emit()
            await at.until(tried(1))
            gone = msgspec.structs.replace(one, **change)
            await at.stores.write(destinations.update_destination, gone)
            await at.advance(HOUR)
            (found,) = await at.until(have("cancelled"))
            assert found.attempts == 1

    with receiving() as receiver:
        receiver.reply = failing
        asyncio.run(body())
        assert len(receiver.heard) == 1


def test_a_destination_that_is_back_in_time_misses_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with desk(tmp_path) as at:
            one = await at.listen("we_1", receiver.url)
            await at.emit()
            await at.until(tried(1))
            for enabled in (False, True):
                switched = msgspec.structs.replace(one, enabled=enabled)
                await at.stores.write(destinations.update_destination, switched)
            receiver.reply = lambda _: Reply()
            await at.advance(HOUR)
            await at.until(have("delivered"))

    with receiving() as receiver:
        receiver.reply = failing
        asyncio.run(body())


def test_a_destination_that_fails_for_days_is_disabled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Given failures for days, then it is disabled as a delivery is given up, and starts anew."""

    async def body() -> None:
        async with desk(tmp_path, private_destinations="open") as at:
            one = await at.listen("we_1", receiver.url, livemode=True)

            async def now() -> destinations.Destination:
                found = await at.stores.read(destinations.find_destination, one.scope, "we_1")
                assert found is not None
                return found

            async def give_up() -> None:
                made = sum(delivery.attempts for delivery in await at.all())
                await at.emit(livemode=True)
                for number in range(made + 1, made + 14):
                    *_, last = await at.until(tried(number))
                    if last.next_attempt_at is not None:
                        await at.advance(last.next_attempt_at - at.clock.now())

            await give_up()
            assert (await now()).failing_since == NOW
            assert (await now()).enabled
            await give_up()
            gone = await now()
            assert (gone.enabled, gone.failing_since) == (False, NOW)
            assert gone.updated == at.clock.now() >= NOW + 5 * DAY
            await at.emit(livemode=True)
            assert len(await at.all()) == 2

    with receiving() as receiver:
        receiver.reply = failing
        asyncio.run(body())
    assert "disabled we_1: nothing has arrived there for 5 days" in caplog.text


def test_many_owed_to_one_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERY_CANCEL_ROWS_MAX", 10)

    async def body() -> None:
        async with desk(tmp_path) as at:
            one = await at.listen("we_1", receiver.url)
            await at.emit(25)
            await at.until(tried(25))
            gone = msgspec.structs.replace(one, enabled=False)
            await at.stores.write(destinations.update_destination, gone)
            await at.advance(HOUR)
            await at.until(have("cancelled", 25))

    with receiving() as receiver:
        receiver.reply = failing
        asyncio.run(body())


def test_what_is_asked_for_during_an_attempt_is_another_one(tmp_path: Path) -> None:
    async def body() -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_1", receiver.url)
            await at.emit()
            await asyncio.to_thread(receiver.wait, 1)
            await at.stores.write(outbox.resend, "evt_0", "we_1", NOW)
            receiver.released.set()
            (found,) = await at.until(have("delivered"))
            assert found.attempts == 2

    with receiving() as receiver:
        receiver.reply = receiver.hold
        asyncio.run(body())
        assert len(receiver.heard) == 2


def test_a_fault_of_ours_is_a_failed_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_1", "http://127.0.0.1:9")

            async def broken(_: Owed) -> None:
                raise LookupError("a bug")

            monkeypatch.setattr(at.deliverer._sender, "attempt", broken)
            await at.emit()
            (found,) = await at.until(tried(1))
            assert found.status == "pending"
            (attempt,) = await at.attempts(found.id)
            assert attempt.status is None
            assert attempt.error

    asyncio.run(body())
    assert "a bug" in caplog.text


def test_certificates_that_cannot_be_read_are_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a path of theirs that leads nowhere, which is then put right."""
    monkeypatch.setattr(limits, "DELIVERY_LOOK_SECONDS_MAX", 0.01)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere"))

    async def body() -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_1", receiver.url)
            await at.emit()
            async with asyncio.timeout(60):
                while "certificates" not in caplog.text:  # noqa: ASYNC110 - the log has no event
                    await asyncio.sleep(0.01)
            monkeypatch.delenv("SSL_CERT_FILE")
            await at.until(have("delivered"))

    with receiving() as receiver:
        asyncio.run(body())
    assert "nothing can be delivered" in caplog.text


def test_a_ledger_that_fails_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a read and a write that fail, then the event arrives once and is recorded once."""
    monkeypatch.setattr(limits, "DELIVERY_RETRY_SECONDS", 0.01)
    failures = {"owed": 2, "record": 2}

    def unsure(name: str) -> None:
        work = getattr(deliveries, name)

        def run(*arguments: Any) -> Any:
            if failures[name]:
                failures[name] -= 1
                raise StoreError("the disk is full")
            return work(*arguments)

        monkeypatch.setattr(deliveries, name, run)

    async def body() -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_1", receiver.url)
            unsure("owed")
            unsure("record")
            await at.emit(3)
            await at.until(have("delivered", 3))
            assert all(one.attempts == 1 for one in await at.all())

    with receiving() as receiver:
        asyncio.run(body())
        assert len(receiver.heard) == 3
    assert failures == {"owed": 0, "record": 0}


def test_what_a_stop_leaves_is_delivered_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an attempt that does not end, then the stop does not wait for long."""
    monkeypatch.setattr(limits, "STOP_DELIVERIES_SECONDS_MAX", 0.05)

    async def first(receiver: Receiver) -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_1", receiver.url)
            await at.emit(2)
            await asyncio.to_thread(receiver.wait, 2)
            started = time.monotonic()
        assert time.monotonic() - started < 10  # an attempt would take 20

    async def second() -> None:
        async with desk(tmp_path) as at:
            await at.until(have("delivered", 2))

    with receiving() as receiver:
        receiver.reply = receiver.hold
        asyncio.run(first(receiver))
        receiver.released.set()
        asyncio.run(second())
        receiver.wait(4)


def test_attempts_that_end_during_the_stop_are_recorded(tmp_path: Path) -> None:
    async def body() -> None:
        async with desk(tmp_path) as at:
            await at.listen("we_1", receiver.url)
            await at.emit(2)
            await asyncio.to_thread(receiver.wait, 2)
            stopping = asyncio.create_task(at.deliverer.stop())
            await asyncio.sleep(0)
            receiver.released.set()
            await stopping
            assert have("delivered", 2)(await at.all())

    with receiving() as receiver:
        receiver.reply = receiver.hold
        asyncio.run(body())


def test_a_clock_that_jumps_ahead_gives_nothing_up(tmp_path: Path) -> None:
    """Given a jump by months, then an attempt that fails is made again; when it is believed, not.

    What waited for an instant of that clock is due when it is back.
    """

    async def body() -> None:
        reached = ManualClock(NOW)
        async with desk(tmp_path, reached, private_destinations="open") as at:
            await at.listen("we_1", receiver.url, livemode=True)
            await at.emit(livemode=True)
            await at.until(tried(1))
            await at.advance(180 * DAY)
            (found,) = await at.until(tried(2))
            assert found.next_attempt_at == at.clock.now() + HOUR
            at.clock.set(NOW + 2 * MINUTE)
            await at.stores.write(deliveries.recall, at.clock.now())
            await at.advance(0)
            (found,) = await at.until(tried(3))
            assert found.next_attempt_at == NOW + 3 * MINUTE
            reached.set(NOW + 180 * DAY)
            await at.advance(180 * DAY)
            await at.until(have("failed"))

    with receiving() as receiver:
        receiver.reply = failing
        asyncio.run(body())
