r"""How the command line speaks: colours and boxes for people, plain lines for everything else.

What a sender chose may be any text. Characters that would break a line, or command a terminal, are
shown as escapes, such as `\n`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import typer
from rich import filesize
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from meterhouse.errors import ConfigError, MeterhouseError

_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BYTES = re.compile(r"[\udc80-\udcff]")  # what Python makes of bytes that are no text

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
        except UnicodeEncodeError as error:
            if not _BYTES.match(error.object, error.start):
                raise
            complain("An argument is no text: its bytes are not UTF-8.")
            raise typer.Exit(CANNOT_RUN) from error


def complain(problem: object) -> None:
    """Say on standard error what went wrong."""
    lines = "\n".join(map(one_line, str(problem).split("\n")))
    Console(stderr=True).print(
        Text("Error: ", style="bold red"), Text(lines), sep="", soft_wrap=True
    )


def remark(text: str) -> None:
    """Say on standard error what a person wants to know and a script does not."""
    Console(stderr=True).print(Text(text, style="dim"), soft_wrap=True)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows: a table on a terminal, else lines of fields with tabs between them."""
    console = Console()
    if not console.is_terminal:
        for row in (headers, *rows):
            typer.echo("\t".join(map(one_line, row)))
        return
    table = Table(*headers, box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(Text, map(one_line, row)))
    console.print(table)


def one_line(text: str) -> str:
    """Return a text in which nothing but the characters that can be seen are as they were."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def show_time(milliseconds: int) -> str:
    """Return an instant as people read it, in UTC."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def show_bytes(size: int) -> str:
    """Return a number of bytes as people read it."""
    return filesize.decimal(size)


@contextmanager
def following() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on a terminal; what is yielded takes the step, how much is done and of how much.

    A total of 0 is not known.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task("", total=None)

        def told(step: str, done: int, total: int) -> None:
            shown.update(task, description=step, completed=done, total=total or None)

        yield told


@contextmanager
def counting(step: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal; what is yielded takes how much more is done."""
    done = 0
    with following() as told:

        def more(count: int) -> None:
            nonlocal done
            done += count
            told(step, done, total)

        yield more
