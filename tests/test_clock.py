import re
import time
from pathlib import Path

import meterhouse
from meterhouse.clock import ManualClock, SystemClock

SOURCE = Path(meterhouse.__file__).parent


def test_the_system_clock_tells_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    now = SystemClock().now()
    assert before <= now <= time.time_ns() // 1_000_000


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(1_000)
    assert clock.now() == clock.now() == 1_000
    clock.advance(500)
    assert clock.now() == 1_500
    clock.set(200)
    assert clock.now() == 200


def test_an_uptime_goes_on_with_the_time() -> None:
    first, second = SystemClock().uptime(), SystemClock().uptime()
    assert first.boot == second.boot
    assert 0 < first.milliseconds <= second.milliseconds


def test_a_machine_is_up_whatever_its_clock_is_set_to() -> None:
    clock = ManualClock(1_000, "a")
    clock.let_pass(50)
    clock.advance(7)
    assert (clock.now(), clock.uptime()) == (1_057, ("a", 50))
    clock.reboot("b")
    assert (clock.now(), clock.uptime()) == (1_057, ("b", 0))


def test_nothing_else_reads_the_time_of_day() -> None:
    """Durations are measured with `perf_counter`, which tells no time of day."""
    reads = re.compile(
        r"\btime\.time(_ns)?\(|\bfrom time import|\bdate(time)?\.(now|utcnow|today)\("
    )
    found = [
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        if path.name != "clock.py"
        for line in path.read_text().splitlines()
        if reads.search(line)
    ]
    assert found == []
