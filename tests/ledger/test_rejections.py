import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from meterhouse import limits
from meterhouse.ledger import notifications, rejections
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.metering.report import NO_METER, WINDOW, RejectionLine, Sample
from tests.ledger.samples import snapshot, thin, two_scopes
from tests.postgresql import PostgreSQL

LATEST = 100 * WINDOW


@pytest.fixture
def scope(ledger: Ledger) -> int:
    return two_scopes(ledger)[0]


def line(
    scope: int, code: str, events: int, *names: str, meter: str = "mtr_1", window: int = 0
) -> RejectionLine:
    samples = [Sample(name, f"{name} is wrong") for name in names]
    return RejectionLine(scope, meter, window, code, events, samples)


def add(ledger: Ledger, *lines: RejectionLine) -> None:
    with ledger.write() as connection:
        rejections.add(connection, lines)


def take(ledger: Ledger, window: int = 0, reports_max: int = 100) -> list[list[RejectionLine]]:
    with ledger.write() as connection:
        return rejections.take(connection, window, reports_max)


def test_lines_add_up_and_keep_the_first_samples(ledger: Ledger, scope: int) -> None:
    add(ledger, line(scope, "a", 3, "1", "2", "3"), line(scope, "b", 1, "x"))
    add(ledger, line(scope, "a", 9, *"456789"), line(scope, "a", 5, "y", meter="mtr_2"))
    add(ledger, line(scope, "a", 1_000_000, "X", "Y"))
    add(ledger)
    first, second = take(ledger)
    assert sorted(first, key=lambda one: one.code) == [
        line(scope, "a", 1_000_012, *"123456789X"),
        line(scope, "b", 1, "x"),
    ]
    assert second == [line(scope, "a", 5, "y", meter="mtr_2")]


def test_what_is_taken_is_gone(ledger: Ledger, scope: int) -> None:
    with ledger.read() as connection:
        assert rejections.due_window(connection, WINDOW, LATEST) is None
    add(ledger, line(scope, "a", 1), line(scope, "a", 2, window=WINDOW))
    with ledger.read() as connection:
        assert rejections.due_window(connection, WINDOW, LATEST) == 0
    assert take(ledger) == [[line(scope, "a", 1)]]
    assert take(ledger) == []
    with ledger.read() as connection:
        assert rejections.due_window(connection, WINDOW, LATEST) == WINDOW
        assert rejections.due_window(connection, WINDOW - 1, LATEST) is None
        assert rejections.due_window(connection, 0, WINDOW - 1) == WINDOW  # far in the future
    add(ledger, line(scope, "a", 7, "late"))
    assert take(ledger) == [[line(scope, "a", 7, "late")]]


def test_reports_are_taken_a_few_at_a_time(ledger: Ledger, scope: int) -> None:
    add(
        ledger,
        *(line(scope, code, 1, meter=f"mtr_{number}") for number in range(5) for code in "ab"),
    )
    assert [len(take(ledger, reports_max=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_a_taking_that_fails_takes_nothing(ledger: Ledger, scope: int) -> None:
    add(ledger, line(scope, "a", 1))

    def fail() -> None:
        with ledger.write() as connection:
            assert rejections.take(connection, 0, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert take(ledger) == [[line(scope, "a", 1)]]


def test_what_is_reported_or_waits_is_counted(ledger: Ledger) -> None:
    scope, live = two_scopes(ledger)
    add(ledger, line(scope, "a", 3), line(scope, "b", 4, meter=NO_METER), line(live, "a", 5))
    with ledger.write() as connection:
        assert rejections.accounted(connection) == {scope: 7, live: 5}
        rejections.take(connection, 0, 1)
        body = {"reason": {"error_count": 4}}
        notifications.put(connection, thin(scope, "evt_1", body=body))
        notifications.put(connection, thin(scope, "evt_2", "v1.billing.meter.created"))
        notifications.put(connection, snapshot(scope, "evt_3"))
        assert rejections.accounted(connection) == {scope: 7, live: 5}


def test_every_event_is_taken_exactly_once(ledger: Ledger) -> None:
    """Given lines that come and are taken in any order, then what was added is what was taken."""
    chance = random.Random(7)
    scopes = two_scopes(ledger)
    added: Counter[tuple[int, str, int, str]] = Counter()
    taken: Counter[tuple[int, str, int, str]] = Counter()

    def note(report: list[RejectionLine]) -> None:
        for one in report:
            taken[one.scope, one.meter, one.window_start, one.code] += one.events

    for _ in range(60):
        keys = {
            (
                chance.choice(scopes),
                chance.choice(("mtr_1", "mtr_2", NO_METER)),
                chance.randrange(3) * WINDOW,
                chance.choice("abc"),
            )
            for _ in range(chance.randrange(6))
        }
        lines = [RejectionLine(*key, chance.randrange(1, 9), []) for key in sorted(keys)]
        add(ledger, *lines)
        for one in lines:
            added[one.scope, one.meter, one.window_start, one.code] += one.events
        if chance.random() < 0.4:
            for report in take(ledger, chance.randrange(3) * WINDOW, chance.randrange(1, 4)):
                note(report)
    for window in range(3):
        for report in take(ledger, window * WINDOW):
            note(report)
    assert taken == added


def test_lines_of_all_partitions_make_one_report(ledger: Ledger, scope: int) -> None:
    with ledger.write() as connection:
        for partition, names in enumerate(("12345", "678", "9Xyz")):
            rejections.add(connection, [line(scope, "a", 10, *names)], partition)
        rejections.add(connection, [line(scope, "b", 1, "u")], 2)
        rejections.add(connection, [line(scope, "a", 1, "v")], 1)
    assert take(ledger) == [[line(scope, "a", 31, *"12345678v9"), line(scope, "b", 1, "u")]]
    assert take(ledger) == []


def test_what_several_add_while_it_is_taken_is_reported_once(
    postgresql_server: PostgreSQL,
) -> None:
    """Given those who judge partitions and who reports, then no event is lost or told twice."""
    url = postgresql_server.blank()
    with ExitStack() as opened:
        ledgers = [opened.enter_context(open_ledger(url)) for _ in range(4)]
        scope = two_scopes(ledgers[0])[0]
        added: Counter[str] = Counter()
        going = Counter(len(ledgers[1:]) * [True])

        def judge(one: Ledger, partition: int) -> None:
            chance = random.Random(partition)
            for number in range(40):
                lines = [
                    line(scope, code, 1, f"{partition} {number} {code}", meter=meter)
                    for code in chance.sample("abcd", 3)
                    for meter in chance.sample(["mtr_1", "mtr_2"], 2)
                ]
                chance.shuffle(lines)
                with one.write() as connection:
                    rejections.add(connection, lines, partition)
                added.update(one.code for one in lines)
            going[True] -= 1

        taken: list[RejectionLine] = []

        def report() -> None:
            while True:
                last = not going[True]
                taken.extend(one for lines in take(ledgers[0], reports_max=1) for one in lines)
                if last and not take_all_left():
                    return

        def take_all_left() -> bool:
            left = [one for lines in take(ledgers[0]) for one in lines]
            taken.extend(left)
            return bool(left)

        with ThreadPoolExecutor() as pool:
            work = [pool.submit(judge, one, n) for n, one in enumerate(ledgers[1:])]
            work.append(pool.submit(report))
            for one in work:
                one.result()
    told: Counter[str] = Counter()
    for one_line in taken:
        told[one_line.code] += one_line.events
        assert len(one_line.samples) == min(one_line.events, limits.REPORT_SAMPLE_EVENTS_MAX)
    assert told == added
