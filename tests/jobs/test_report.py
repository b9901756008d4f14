"""Error reports on a real ledger; nothing here needs the usage store."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.jobs import report
from meterhouse.jobs.report import Reporter
from meterhouse.ledger import accounts, notifications, outbox, rejections, tables
from meterhouse.ledger.engine import open_ledger
from meterhouse.metering.report import NO_METER, WINDOW, RejectionLine, Sample
from meterhouse.stores import Stores
from meterhouse.wire.notification import Notification
from tests.blank import blank_ledger
from tests.metering.samples import NOW

CLOSED = limits.REPORT_WINDOW_SECONDS * 1000
DUE = CLOSED + limits.REPORT_DELAY_SECONDS * 1000


class Desk:
    """A reporter, its ledger and its clock.

    `settled` notes how often it waited, `settling` is how long each time, in milliseconds.
    """

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.clock = ManualClock(NOW)
        self.settled = 0
        self.settling = 0
        self.reporter = Reporter(stores, self.clock, self._settle)
        with stores._ledger.write() as connection:
            account = accounts.default_account(connection, NOW)
            self.test, self.live = accounts.scopes_of(connection, account.id)

    async def _settle(self, seconds: float) -> bool:
        assert seconds == limits.REPORT_SETTLE_SECONDS_MAX
        self.settled += 1
        self.clock.advance(self.settling)
        return True

    def add(self, *lines: RejectionLine) -> None:
        with self.stores._ledger.write() as connection:
            rejections.add(connection, lines)

    def line(
        self,
        events: int = 1,
        *,
        meter: str = "mtr_1",
        window: int = NOW,
        code: str = "archived_meter",
    ) -> RejectionLine:
        return RejectionLine(
            self.test.id, meter, window, code, events, [Sample("a", "It is wrong.")]
        )

    def run(self) -> int:
        return asyncio.run(self.reporter.report())

    def told(self) -> list[Notification]:
        with self.stores._ledger.read() as connection:
            return [one for _, one in notifications.after(connection, 0, 1_000)]

    def counts(self) -> dict[str, int]:
        """Count the events that are reported and those that wait."""
        with self.stores._ledger.read() as connection:
            waiting = sa.select(sa.func.coalesce(sa.func.sum(tables.rejections.c.events), 0))
            return {
                "reported": sum(body_of(one)["reason"]["error_count"] for one in self.told()),
                "waiting": connection.execute(waiting).scalar_one(),
            }


def no_usage_store(*_: Any) -> None:
    raise AssertionError("reports need no usage store")


def body_of(notification: Notification) -> dict[str, Any]:
    assert notification.body is not None
    return notification.body


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_ledger(blank_ledger(tmp_path)) as ledger:
        stores = Stores(ledger, no_usage_store)
        yield Desk(stores)
        stores.close()


def test_the_report_of_a_meter(desk: Desk) -> None:
    desk.add(desk.line(2), desk.line(3, code="meter_event_invalid_value"))
    desk.clock.advance(DUE + 134)
    assert desk.run() == 1
    (told,) = desk.told()
    sample = {"error_message": "It is wrong.", "request": {"identifier": "a"}}
    assert told == Notification(
        id=told.id,
        scope=desk.test.id,
        payload="thin",
        type="v1.billing.meter.error_report_triggered",
        created=NOW + DUE + 134,
        object_id="mtr_1",
        object_type="billing.meter",
        object_url="/v1/billing/meters/mtr_1",
        body={
            "developer_message_summary": "There are 5 invalid events",
            "reason": {
                "error_count": 5,
                "error_types": [
                    {
                        "code": "meter_event_invalid_value",
                        "error_count": 3,
                        "sample_errors": [sample],
                    },
                    {"code": "archived_meter", "error_count": 2, "sample_errors": [sample]},
                ],
            },
            "validation_start": "2026-11-20T12:00:00.000Z",
            "validation_end": "2026-11-20T12:00:10.000Z",
        },
    )
    assert told.id.startswith("evt_test_65")


def test_the_report_of_events_that_match_no_meter(desk: Desk) -> None:
    desk.add(desk.line(meter=NO_METER, code="no_meter"))
    desk.clock.advance(DUE)
    assert desk.run() == 1
    (told,) = desk.told()
    assert told.type == "v1.billing.meter.no_meter_found"
    assert (told.object_id, told.object_type, told.object_url) == (None, None, None)
    assert body_of(told)["developer_message_summary"] == "There is 1 invalid event"


def test_scopes_meters_and_windows_have_reports_of_their_own(desk: Desk) -> None:
    live = RejectionLine(desk.live.id, "mtr_9", NOW, "archived_meter", 1, [])
    desk.add(desk.line(), desk.line(meter="mtr_2"), desk.line(window=NOW - WINDOW), live)
    desk.clock.advance(DUE)
    assert desk.run() == 4
    told = [
        (one.scope, one.object_id, body_of(one)["validation_end"][-8:-5]) for one in desk.told()
    ]
    assert told == [
        (desk.test.id, "mtr_1", ":00"),
        (desk.test.id, "mtr_1", ":10"),
        (desk.test.id, "mtr_2", ":10"),
        (desk.live.id, "mtr_9", ":10"),
    ]
    assert desk.told()[-1].id.startswith("evt_65")


def test_a_window_waits_until_it_is_due(desk: Desk) -> None:
    desk.add(desk.line(), desk.line(window=NOW + WINDOW))
    for step, reports in ((0, 0), (DUE - 1, 0), (1, 1), (CLOSED - 1, 0), (1, 1), (CLOSED, 0)):
        desk.clock.advance(step)
        assert desk.run() == reports
    assert desk.settled == 6


def test_what_comes_late_makes_another_report_of_its_window(desk: Desk) -> None:
    desk.add(desk.line(4))
    desk.clock.advance(DUE)
    assert desk.run() == 1
    desk.add(desk.line(3))
    assert desk.run() == 1
    first, second = desk.told()
    assert body_of(first)["reason"]["error_count"] == 4
    assert body_of(second)["reason"]["error_count"] == 3
    assert body_of(first)["validation_start"] == body_of(second)["validation_start"]


def test_reports_go_out_a_few_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPORT_CHUNK_ROWS_MAX", 3)
    desk.add(*(desk.line(meter=f"mtr_{number}") for number in range(7)))
    desk.clock.advance(DUE)
    assert desk.run() == 7
    assert desk.run() == 0
    assert desk.counts() == {"reported": 7, "waiting": 0}


def test_a_failure_between_reports_loses_none_and_counts_none_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a ledger that fails now and then, what is reported and what waits is what came."""
    chance = Random(11)
    emit = outbox.emit

    def flaky(connection: sa.Connection, notification: Notification) -> None:
        emit(connection, notification)
        if chance.random() < 0.3:
            raise OSError("the disk is full")

    monkeypatch.setattr(limits, "REPORT_CHUNK_ROWS_MAX", 2)
    monkeypatch.setattr(outbox, "emit", flaky)
    came = failures = 0
    for _ in range(40):
        events = chance.randrange(1, 9)
        meter = f"mtr_{chance.randrange(4)}"
        window = desk.clock.now() // WINDOW * WINDOW
        desk.add(desk.line(events, meter=meter, window=window))
        came += events
        desk.clock.advance(chance.randrange(DUE))
        try:
            desk.run()
        except OSError:
            failures += 1
        assert sum(desk.counts().values()) == came
    assert failures > 3
    monkeypatch.setattr(outbox, "emit", emit)
    desk.clock.advance(DUE)
    desk.run()
    assert desk.counts() == {"reported": came, "waiting": 0}


def begin_and_wait_for_a_report(desk: Desk) -> None:
    async def body() -> None:
        told = asyncio.Event()
        desk.stores.listen(told.set)
        desk.reporter.start()
        async with asyncio.timeout(60):
            await told.wait()
        await desk.reporter.stop()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("now", "due"), [(0, 2_000), (1_999, 2_000), (2_000, 12_000), (2_001, 12_000)]
)
def test_the_reporter_wakes_two_seconds_after_each_window(now: int, due: int) -> None:
    assert report._next_due(NOW + now) == NOW + due


def test_a_window_that_comes_due_while_the_reporter_works_is_not_left_for_ten_seconds(
    desk: Desk,
) -> None:
    desk.add(desk.line())
    desk.clock.advance(DUE - 1)
    desk.settling = 2
    begin_and_wait_for_a_report(desk)
    assert desk.counts() == {"reported": 1, "waiting": 0}


def test_the_reporter_begins_with_what_was_left_behind(desk: Desk) -> None:
    desk.add(desk.line())
    desk.clock.advance(DUE)
    begin_and_wait_for_a_report(desk)
    assert desk.counts() == {"reported": 1, "waiting": 0}


def test_a_report_that_fails_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPORT_RETRY_SECONDS", 0)
    tries = 0
    again = asyncio.Event()

    async def fail(_: Reporter) -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("the disk is full")
        again.set()
        return 0

    monkeypatch.setattr(Reporter, "report", fail)

    async def body() -> None:
        desk.reporter.start()
        async with asyncio.timeout(60):
            await again.wait()
        await desk.reporter.stop()

    asyncio.run(body())
    assert tries == 2


def test_a_window_that_a_clock_ahead_has_brought_about_is_reported_at_once(desk: Desk) -> None:
    desk.add(desk.line(), desk.line(window=NOW + 180 * 86_400_000))
    assert desk.run() == 1
    desk.clock.advance(DUE)
    assert desk.run() == 1
