from pathlib import Path

import pytest

from meterhouse.clock import Uptime
from meterhouse.ledger import timekeeping
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.timekeeping import Timekeeping
from tests.blank import blank_ledger
from tests.cli.samples import meterhouse

UPTIME = Uptime("another boot", 0)
NOW = 4_102_444_800_000  # 2100-01-01


def test_it_shows_what_is_known(tmp_path: Path) -> None:
    url = blank_ledger(tmp_path)
    asked = ("clock", "show", "--data-dir", tmp_path)
    headers, row = (line.split("\t") for line in meterhouse(*asked).stdout.splitlines())
    assert headers == ["clock", "reached"]
    assert row[1] == ""
    with open_ledger(url) as ledger, ledger.write() as connection:
        timekeeping.write(connection, Timekeeping(NOW, NOW), UPTIME)
    assert meterhouse(*asked).stdout.splitlines()[1].endswith("\t2100-01-01 00:00:00Z")


@pytest.mark.parametrize("reached", [0, NOW])
def test_the_clock_is_accepted(tmp_path: Path, reached: int) -> None:
    with open_ledger(blank_ledger(tmp_path)) as ledger:
        with ledger.write() as connection:
            timekeeping.write(connection, Timekeeping(reached, reached, 7), UPTIME)
        result = meterhouse("clock", "accept", "--data-dir", tmp_path)
        assert result.exit_code == 0
        assert "A running server knows within 15 seconds." in result.stderr
        with ledger.read() as connection:
            known = timekeeping.read(connection)
    assert known is not None
    assert known.doubted_ms == 0
    assert 0 < known.reached < NOW
    assert known.furthest == max(known.reached, reached)


def test_without_a_ledger_there_is_nothing_to_accept(tmp_path: Path) -> None:
    result = meterhouse("clock", "accept", "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert "There is no ledger at" in result.stderr
