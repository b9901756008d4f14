"""`python -m benchmarks.against da212e5 [--only stream,creates] [--turns 5] [--json …] …`.

Two programs in turns on one machine: that of another commit, and this one. Both run side by side,
each on a folder of its own, and get the same traffic one after the other, several times around;
each is first in half of the turns. What comes out is a ratio for each figure: that of the medians.
"""

import argparse
import asyncio
import os
import platform
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import uvloop
from rich.table import Table

from benchmarks.bench import Bench, House, Sizes
from benchmarks.duels import DUELS, FIGURES, Figure
from benchmarks.probe import Probe
from benchmarks.processes import meterhouse
from benchmarks.result import make_console
from benchmarks.revision import name_of, python_of

_TURNS_MIN = 3
_WARM_UP_SECONDS = 1.0


class Compared(NamedTuple):
    """A figure of all turns, of the other program and of this one."""

    theirs: list[float]
    ours: list[float]

    @property
    def ratio(self) -> float:
        """Ours relative to theirs, by the medians; 0 where theirs is nothing."""
        return median(self.ours) / median(self.theirs) if median(self.theirs) else 0.0

    def ratios(self) -> list[float]:
        """Return the same of each turn, the least first."""
        return sorted(b / a for a, b in zip(self.theirs, self.ours, strict=True) if a)


def main() -> None:
    """Compare, print the table and write the results."""
    options = _options()
    console = make_console()
    sizes = Sizes(
        seconds=options.seconds,
        trickle_seconds=options.trickle_seconds,
        customers=options.customers,
    )
    try:
        commit = name_of(options.revision)
        console.print(f"{commit[:12]} gets an environment of its own …")
        python = python_of(commit)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            bench = Bench(sizes, console.print)
            found = runner.run(_compare(bench, python, options.only, options.turns))
    except RuntimeError as error:
        sys.exit(str(error))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    console.print(_table(commit, found))
    if options.json is not None:
        _write_json(options.json, commit, found)
        console.print(f"Written to {options.json}.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks.against", description="Compare with a commit.")
    parser.add_argument("revision", help="the commit to compare with, such as da212e5")
    parser.add_argument(
        "--only", type=_names, default=list(DUELS), help=f"some of: {','.join(DUELS)}"
    )
    parser.add_argument("--turns", type=_turns, default=_TURNS_MIN, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of one turn (%(default)s)")
    parser.add_argument("--trickle-seconds", type=float, default=30.0, help="(%(default)s)")
    parser.add_argument("--customers", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--json", type=Path, help="a file for the results")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in DUELS:
            raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(DUELS)}")
    return names


def _turns(text: str) -> int:
    turns = int(text)
    if turns < _TURNS_MIN:
        raise argparse.ArgumentTypeError(f"must be at least {_TURNS_MIN}")
    return turns


async def _compare(bench: Bench, python: str, names: list[str], turns: int) -> dict[str, Compared]:
    task = asyncio.current_task()
    assert task is not None
    # What was started ends, and what was written goes, also when somebody ends this early.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    found: dict[str, Compared] = defaultdict(lambda: Compared([], []))
    for name in names:
        with _houses(python) as houses:
            for house in houses:
                await house.furnish_for_stream(bench.sizes)
            probes = [await Probe.make(house) for house in houses]
            warm = Bench(_warm(bench.sizes), bench.say)
            for house, probe in zip(houses, probes, strict=True):
                await DUELS[name](warm, house, probe)
            for turn in range(turns):
                bench.say(f"{name}, turn {turn + 1} of {turns}")
                sides = [0, 1] if turn % 2 == 0 else [1, 0]
                for side in sides:
                    figures = await DUELS[name](bench, houses[side], probes[side])
                    for figure, value in figures.items():
                        found[figure][side].append(value)
            for probe in probes:
                probe.close()
    return found


def _warm(sizes: Sizes) -> Sizes:
    return Sizes(
        seconds=_WARM_UP_SECONDS, trickle_seconds=_WARM_UP_SECONDS, customers=sizes.customers
    )


@contextmanager
def _houses(python: str) -> Iterator[tuple[House, House]]:
    """Start the other program and this one."""
    with ExitStack() as opened:
        theirs = opened.enter_context(House(partial(meterhouse, python=python)))
        yield theirs, opened.enter_context(House())


def _table(commit: str, found: dict[str, Compared]) -> Table:
    made = Table(title=f"Beside {commit[:12]}", title_justify="left")
    for heading in ("", "it", "this", "", "ratio", "of the turns", "asked", ""):
        made.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, compared in found.items():
        figure, ratios = FIGURES[name], compared.ratios()
        made.add_row(
            name,
            *(f"{median(values):,.{2 if median(values) < 100 else 0}f}" for values in compared),
            figure.unit,
            f"{compared.ratio:.2f} ×",
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}" if ratios else "",
            _asked(figure),
            _met(figure, compared.ratio),
        )
    return made


def _asked(figure: Figure) -> str:
    if figure.asked is None:
        return ""
    return f"{'at least' if figure.more_is_better else 'at most'} {figure.asked:.1f} ×"


def _met(figure: Figure, ratio: float) -> str:
    if figure.asked is None:
        return ""
    met = ratio >= figure.asked if figure.more_is_better else ratio <= figure.asked
    return "[green]✓[/]" if met else "[bold red]✗[/]"


def _write_json(path: Path, commit: str, found: dict[str, Compared]) -> None:
    document = {
        "against": commit,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "figures": {
            name: {
                "unit": FIGURES[name].unit,
                "theirs": compared.theirs,
                "ours": compared.ours,
                "ratio": compared.ratio,
                "asked": FIGURES[name].asked,
            }
            for name, compared in found.items()
        },
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


if __name__ == "__main__":
    main()
