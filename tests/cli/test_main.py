import subprocess
import sys

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
