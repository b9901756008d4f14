"""`python -m benchmarks [--only creates,stream] [--seconds 10] [--json bench-results.json] …`."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.bench import Bench, Say, Sizes
from benchmarks.result import Row, make_console, table, write_json
from benchmarks.rows import ROWS

Advance = Callable[[], None]

_SECONDS_MAX = 3_600.0
_HELP = {
    "seconds": "length of one measurement",
    "connections": "connections of a stream",
    "events": "events in one request of a stream",
    "customers": "customers that a stream is about",
    "meters": "meters that a stream is about",
    "steady_seconds": "length of the steady stream",
    "history": "events that are stored before the stream is measured again",
    "trickle_seconds": "length of each measurement of a trickle",
    "searched": "customers that are searched",
}


def main() -> None:
    """Measure what was asked for, print the table and write the results."""
    options = _options()
    sizes = Sizes(**{name: getattr(options, name) for name in _HELP})
    console = make_console()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            rows = runner.run(_measure(console, options.only, sizes))
        except asyncio.CancelledError:
            sys.exit(128 + signal.SIGTERM)
    console.print(table(rows))
    if options.json is not None:
        write_json(options.json, rows, sizes)
        console.print(f"Written to {options.json}.")
    sys.exit(any(row.failed for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks", description="Measure Meterhouse.")
    parser.add_argument(
        "--only", type=_names, default=list(ROWS), help=f"some of: {','.join(ROWS)} (default: all)"
    )
    for field in fields(Sizes):
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            type=_seconds if field.type is float else _whole,
            default=field.default,
            help=f"{_HELP[field.name]} (default: %(default)s)",
        )
    parser.add_argument("--json", type=Path, help="a file for the results")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ROWS:
            raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(ROWS)}")
    return names


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {_SECONDS_MAX:.0f}")
    return seconds


async def _measure(console: Console, names: list[str], sizes: Sizes) -> list[Row]:
    task = asyncio.current_task()
    assert task is not None
    # What was started ends, and what was written goes, also when somebody ends this early.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    rows: list[Row] = []
    with _progress(console, len(names)) as (say, advance):
        for name in names:
            try:
                async for row in ROWS[name](Bench(sizes, say)):
                    rows.append(row)  # noqa: PERF401 - what came before a failure is kept
            except* (RuntimeError, OSError) as errors:
                rows.append(Row(name=name, failed=True, note=str(errors.exceptions[0])))
            advance()
    return rows


@contextmanager
def _progress(console: Console, steps: int) -> Iterator[tuple[Say, Advance]]:
    """Show how far it is. It is drawn only between measurements, so it disturbs none."""
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=steps)

        def say(text: str) -> None:
            progress.update(task, description=text, refresh=True)
            if not console.is_terminal:
                console.print(text)

        def advance() -> None:
            progress.update(task, advance=1, refresh=True)

        yield say, advance


if __name__ == "__main__":
    main()
