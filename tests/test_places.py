"""The folder that was named has both stores, whatever its name; the stores themselves write."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from meterhouse.config import Config
from meterhouse.ledger.engine import open_ledger
from tests.cli.samples import meterhouse
from tests.server import TEST_KEY, serving

NAMES = [
    "my%20data",
    "%zz",
    "%",
    "what?",
    "a?mode=ro&x=y",
    "a#b",
    "a b",
    " a ",
    "~",
    "~ada",
    "\u00fcber \u6570\u636e",
    "q'uo\"te`s",
    "back\\slash",
    "a:b@c;d,e",
    "[::1]",
    "new\nline",
    "*{a,b}$(x)",
    "file:x",
    "-rf",
    "not text \udcff",
]


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_the_ledger_is_in_the_folder_that_was_named(tmp_path: Path, name: str) -> None:
    config = Config.read({"data_dir": f"{tmp_path}/{name}"}, {})
    open_ledger(config.database_url).close()
    assert entries(tmp_path) == [name]
    assert entries(tmp_path / name) == ["ledger.db", "ledger.db-lock"]


# One client of the engine, and one table: all of them would take seconds.
PROGRAM = """
import sys
from meterhouse.config import Config
from meterhouse.usage.connect import address_of
for folder in sys.argv[1:]:
    address = address_of(Config.read({"data_dir": folder}, {}).clickhouse_url)
    client, _ = address.connect({})
    client.command("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
    client.close()
    address.close()
"""


def test_the_usage_store_is_in_the_folder_that_was_named(tmp_path: Path) -> None:
    folders = [f"{tmp_path}/{name}" for name in NAMES]
    subprocess.run([sys.executable, "-c", PROGRAM, *folders], check=True)
    assert entries(tmp_path) == sorted(NAMES)
    for folder in folders:
        assert entries(Path(folder)) == ["usage"]
        assert Path(folder, "usage", "metadata", "default", "t.sql").exists()


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("chdb://{here}/a%20b%3Fc", "a b?c"),
        ("chdb://{here}/a b", "a b"),
        ("chdb://{here}/a%b", "a%b"),
    ],
)
def test_a_url_of_the_usage_store_has_codes_as_that_of_a_ledger_has(
    tmp_path: Path, url: str, folder: str
) -> None:
    program = "import sys; from meterhouse.usage.store import UsageStore as U; U.open(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, url.format(here=tmp_path)], check=True)
    assert entries(tmp_path) == [folder]


def test_a_server_works_in_a_folder_of_any_name(tmp_path: Path) -> None:
    name = "100%20?# \u00fc'\"\udcff\n~"
    folder = tmp_path / name
    with serving(folder, uds=str(tmp_path / "s?%20")) as server:
        transport = httpx.HTTPTransport(uds=str(tmp_path / "s?%20"))
        with httpx.Client(transport=transport) as client:
            answer = client.get("http://meterhouse/v1/customers", auth=(TEST_KEY, ""))
        assert answer.json()["data"] == []
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert meterhouse("verify", "--data-dir", folder).exit_code == 0
    assert meterhouse("verify", "--data-dir", folder).exit_code == 0
    assert entries(tmp_path) == [name]
    assert {"ledger.db", "usage", "lock"} <= set(entries(folder))
