"""The `meterhouse` command: every subcommand, and how an error ends it.

An error that Meterhouse raises on purpose is one sentence on standard error and exit code 1, or 2
when a setting is to blame. Standard output has only what a script would want to read.

The module of a command is imported when it is asked for, so no command waits for what only another
one needs.
"""

from importlib import import_module
from typing import Any

import typer

from meterhouse.cli.output import TellsErrors
from meterhouse.folder import be_private

_COMMANDS = (
    "serve",
    "verify",
    "backup",
    "restore",
    "migrate",
    "move",
    "demo",
    "version",
    "settings",
    "events",
    "keys",
    "accounts",
    "customers",
    "audit",
    "clock",
    "users",
    "secrets",
)


class Commands(TellsErrors):
    """The subcommands: each is the `app` of the module of its name."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Return their names in the order in which they are shown."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; or all of them, for typer suggests some where there is none."""
        for name in (cmd_name,) if cmd_name in _COMMANDS else _COMMANDS:
            command = typer.main.get_command(import_module(f"meterhouse.cli.{name}").app)
            command.name = name
            self.commands[name] = command
        return super().get_command(ctx, cmd_name)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(cls=Commands, no_args_is_help=True)
def meterhouse() -> None:
    """Usage metering that speaks Stripe's metering API on the wire."""
    be_private()


if __name__ == "__main__":
    app()
