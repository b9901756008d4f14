"""The check of a cluster, as whoever has one runs it, on PostgreSQL and the double."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.clickhouse import Double
from tests.postgresql import PostgreSQL

SCRIPT = Path(__file__).parents[2] / "scripts" / "check-cluster"
SEED = os.environ.get("METERHOUSE_CRASH_SEED", "6")


def check(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: text for name, text in os.environ.items() if "METERHOUSE" not in name}
    return subprocess.run(
        [SCRIPT, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment | {"TMPDIR": str(folder)},
    )


@pytest.fixture
def short() -> Iterator[Path]:
    """Make a folder whose path leaves room for that of a Unix socket in it."""
    with TemporaryDirectory(prefix="check-") as made:
        yield Path(made)


def test_a_sound_cluster_is_told_so_and_used_stores_are_refused(
    short: Path, postgresql_server: PostgreSQL, clickhouse_server: Double
) -> None:
    used = ("--database-url", postgresql_server.empty())
    usage = ("--clickhouse-url", clickhouse_server.empty())
    ended = check(short, *used, *usage, "--faults", "4", "--seed", SEED)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    seed, faults, _, acknowledged, sound = ended.stdout.splitlines()
    assert seed.startswith(f"Seed {SEED}: ")
    assert sum(map(int, re.findall(r"(\d+) (?:kill|pause)", faults))) == 4
    assert re.search(r"\b[1-9][\d,]* accepted", acknowledged)
    assert sound.endswith("the books balance.")
    assert not [*short.iterdir()], "something is left behind"
    empty = ("--database-url", postgresql_server.empty())
    for stores in (used, usage), (empty, usage):
        again = check(short, *stores[0], *stores[1])
        assert (again.returncode, again.stdout) == (2, "")
        assert "Name an empty one." in again.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "It is servers that are checked"),
        (("--faults", "0"), "0 is no whole number from 1 to 10,000"),
        (
            (
                *("--database-url", "postgresql://nobody@127.0.0.1:1/nothing"),
                *("--clickhouse-url", "clickhouse://127.0.0.1:1/nothing"),
            ),
            "The ledger at postgresql://nobody@127.0.0.1:1/nothing cannot be opened.",
        ),
    ],
)
def test_what_cannot_be_checked_is_told(
    short: Path, options: tuple[str, ...], sentence: str
) -> None:
    ended = check(short, *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert sentence in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
