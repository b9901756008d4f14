"""`meterhouse version`: what this is, and what it speaks."""

import typer

from meterhouse import __version__
from meterhouse.wire.version import DEFAULT_VERSION

app = typer.Typer(add_completion=False)


@app.command()
def version() -> None:
    """Print the version, and the Stripe API version that requests without one get."""
    typer.echo(f"meterhouse {__version__}")
    typer.echo(f"Stripe API {DEFAULT_VERSION.text}")
