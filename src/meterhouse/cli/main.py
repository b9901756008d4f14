"""The `meterhouse` command: every subcommand, and how an error ends it.

An error that Meterhouse raises on purpose is one sentence on standard error and exit code 1, or 2
when a setting is to blame. Standard output has only what a script would want to read.
"""

import typer

from meterhouse import __version__
from meterhouse.cli import accounts, demo, events, keys, serve, settings, users, verify
from meterhouse.cli.output import TellsErrors
from meterhouse.wire.version import DEFAULT_VERSION

app = typer.Typer(
    cls=TellsErrors,
    help="Usage metering that speaks Stripe's metering API on the wire.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def version() -> None:
    """Print the version, and the Stripe API version that requests without one get."""
    typer.echo(f"meterhouse {__version__}")
    typer.echo(f"Stripe API {DEFAULT_VERSION.text}")


app.command()(serve.serve)
app.command()(verify.verify)
app.command()(demo.demo)
app.command()(version)
app.command("settings", hidden=True)(settings.print_settings)
app.add_typer(events.app, name="events")
app.add_typer(keys.app, name="keys")
app.add_typer(accounts.app, name="accounts")
app.add_typer(users.app, name="users")

if __name__ == "__main__":
    app()
