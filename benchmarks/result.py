"""A row of the table, the table, and the same as JSON."""

import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.bench import Sizes
from benchmarks.load import Sample, percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: what was measured, and what came out, as far as it applies.

    `rate` counts `unit` a second; times are milliseconds; `share` is the rate relative to
    `against`; processor time is in cores; `bar` is what is asked of the row, `met` whether it is;
    `aim` is asked as well, but of a machine that does nothing else, so it is not judged here;
    `failed` tells that it could not be measured.
    """

    name: str
    rate: float | None = None
    unit: str = "requests"
    p50: float | None = None
    p99: float | None = None
    share: float | None = None
    against: str = ""
    server_cores: float | None = None
    generator_cores: float | None = None
    memory_bytes: int | None = None
    disk_bytes_per_event: float | None = None
    bar: str = ""
    met: bool | None = None
    aim: str = ""
    note: str = ""
    failed: bool = False


def times(sample: Sample) -> tuple[float, float]:
    """Return the p50 and the p99 of a sample, in milliseconds."""
    return (
        percentile(sample.latencies, 0.50) * 1000,
        percentile(sample.latencies, 0.99) * 1000,
    )


def refusals(sample: Sample) -> str:
    """Say what was not answered with 200; empty when everything was."""
    if not sample.refused:
        return ""
    if set(sample.refused) == {404} and not sample.latencies:
        return "not there yet"
    counted = ", ".join(f"{count:,} with {status}" for status, count in sample.refused.items())
    body = (
        sample.first_refusal.body[:120].decode("utf-8", "replace") if sample.first_refusal else ""
    )
    return f"refused: {counted} ({body})"


MEGABYTE = 1_048_576

_COLUMNS = ("", "a second", "p50 ms", "p99 ms", "share", "server", "load", "memory", "disk", "")
_TABLE_COLUMNS = 180


def make_console() -> Console:
    """Return a console that the table fits into where there is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=_TABLE_COLUMNS)


def table(rows: list[Row]) -> Table:
    """Return the table for a terminal."""
    made = Table(title="Meterhouse benchmarks", title_justify="left")
    for number, heading in enumerate(_COLUMNS):
        first_or_last = number in (0, len(_COLUMNS) - 1)
        made.add_column(
            heading, justify="left" if first_or_last else "right", no_wrap=not first_or_last
        )
    for row in rows:
        made.add_row(
            row.name,
            _number(row.rate, "{:,.0f} " + row.unit),
            _number(row.p50, "{:,.2f}"),
            _number(row.p99, "{:,.2f}"),
            _number(row.share, "{:.0%}"),
            _number(row.server_cores, "{:.3f}"),
            _number(row.generator_cores, "{:.2f}"),
            _number(row.memory_bytes and row.memory_bytes / MEGABYTE, "{:,.0f} MB"),
            _number(row.disk_bytes_per_event, "{:,.0f} B"),
            _remarks(row),
        )
    return made


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _remarks(row: Row) -> Text:
    text = Text()
    if row.met is not None:
        text.append("✓ " if row.met else "✗ ", "green" if row.met else "bold red")
    if row.failed:
        text.append("failed: ", "bold red")
    remarks = (row.bar, row.aim and f"aim: {row.aim}", row.note)
    text.append("; ".join(remark for remark in remarks if remark))
    return text


def write_json(path: Path, rows: list[Row], sizes: Sizes) -> None:
    """Write the rows, and what they were measured on, to a file."""
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "meterhouse": version("meterhouse"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "sizes": asdict(sizes),
        "rows": [asdict(row) for row in rows],
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
