import subprocess
import sys
from pathlib import Path

import pytest

from meterhouse import __version__
from tests.cli.samples import meterhouse


def test_the_version() -> None:
    assert (
        meterhouse("version").stdout == f"meterhouse {__version__}\nStripe API 2026-10-28.endive\n"
    )


def test_the_commands_are_listed() -> None:
    shown = meterhouse("--help").stdout
    for command in ("serve", "verify", "version", "keys", "accounts"):
        assert command in shown


def test_the_package_runs_as_the_command() -> None:
    command = [sys.executable, "-m", "meterhouse", "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"meterhouse {__version__}\n")


def test_a_command_that_is_misspelled_is_told_what_it_may_be() -> None:
    result = meterhouse("serv")
    assert result.exit_code == 2
    assert "No such command 'serv'. Did you mean 'serve'" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("accounts", "create", "--name"),
        ("keys", "create", "--name"),
        ("users", "delete"),
        ("users", "create"),
    ],
)
def test_an_argument_that_is_no_text(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    made = meterhouse("accounts", "create", "--name", "first", "--data-dir", tmp_path)
    assert made.exit_code == 0, made.output
    told = meterhouse(*arguments, "\udcff", "--data-dir", tmp_path)
    assert told.exit_code == 2
    assert told.stderr.startswith("Error: ")
    assert told.stderr.count("\n") == 1


def test_no_command_waits_for_what_only_another_one_needs() -> None:
    program = (
        "import sys\n"
        "from meterhouse.cli.main import app\n"
        "app(['version'], standalone_mode=False)\n"
        "print([name for name in ('sqlalchemy', 'httpx', 'uvicorn') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")
