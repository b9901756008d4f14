"""How the tests of this room call the command."""

import os
from pathlib import Path

from typer.testing import CliRunner, Result

from meterhouse.cli.main import app

# No setting of the person who runs the tests may reach them, and their window has a fixed width.
ENVIRONMENT: dict[str, str | None] = {
    **{name: None for name in os.environ if name.startswith("METERHOUSE_")},
    "COLUMNS": "120",
}


def meterhouse(*arguments: str | Path) -> Result:
    """Run the command in this process and return what it printed and how it ended."""
    return CliRunner(env=ENVIRONMENT).invoke(app, [*map(str, arguments)])
