"""`python -m meterhouse` is the `meterhouse` command."""

from meterhouse.cli.main import app

app()
