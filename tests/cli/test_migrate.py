import os
import subprocess
import sys
from pathlib import Path

from tests.cli.samples import meterhouse
from tests.clickhouse import Double
from tests.postgresql import PostgreSQL
from tests.server import as_variables
from tests.stores import new_stores

NODES = 6


def test_both_stores_are_made_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    first, second = [meterhouse("migrate", "--data-dir", tmp_path) for _ in range(2)]
    assert first.exit_code == second.exit_code == 0, first.output
    assert first.stdout == second.stdout
    assert first.stdout == (
        f"{tmp_path}/ledger.db is up to date.\n{tmp_path}/usage is up to date.\n"
    )


def test_nodes_that_migrate_at_the_same_time_take_turns(
    tmp_path: Path, postgresql_server: PostgreSQL, clickhouse_server: Double
) -> None:
    stores = new_stores(postgresql_server, clickhouse_server)
    settings = as_variables({"data_dir": str(tmp_path), **stores})
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "meterhouse", "migrate"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | settings,
        )
        for _ in range(NODES)
    ]
    for node in nodes:
        said, trouble = node.communicate()
        assert node.returncode == 0, trouble
        assert said.count(" is up to date.") == 2
        assert "***" in said  # the password of the URL stays out of what is shown
