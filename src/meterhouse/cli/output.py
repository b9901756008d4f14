"""How the command line speaks: colours and boxes for people, plain lines for everything else."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from meterhouse.errors import ConfigError, MeterhouseError

FAILED = 1
CANNOT_RUN = 2


class TellsErrors(TyperGroup):
    """A group of commands that tells an error in one sentence instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except MeterhouseError as error:
            complain(error)
            raise typer.Exit(CANNOT_RUN if isinstance(error, ConfigError) else FAILED) from error


def complain(problem: object) -> None:
    """Say on standard error what went wrong."""
    Console(stderr=True).print(
        Text("Error: ", style="bold red"), Text(str(problem)), sep="", soft_wrap=True
    )


def remark(text: str) -> None:
    """Say on standard error what a person wants to know and a script does not."""
    Console(stderr=True).print(Text(text, style="dim"), soft_wrap=True)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows: a table on a terminal, else lines of fields with tabs between them."""
    console = Console()
    if not console.is_terminal:
        for row in (headers, *rows):
            typer.echo("\t".join(row))
        return
    table = Table(*headers, box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def show_time(milliseconds: int) -> str:
    """Return an instant as people read it, in UTC."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
