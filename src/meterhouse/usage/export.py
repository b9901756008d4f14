"""Answers to overviews as files: JSON, CSV or Parquet, however many rows they have.

What a reader may rely on:

- A row's columns are `starts_at`, `ends_at`; `local_start`, where a zone was named; `meter`;
  `customer`, where customers are told apart;
  `dimensions.…` and `tenants.…` for every key that a question groups by; `other`, where only some
  groups have rows of their own; and `value`, which is exact in every format.
- Where a group is other, or does not have a key, its cells are null, or empty in CSV.
- No text in CSV is a formula, whatever payloads have; numbers are written as they are.
- Nothing is written to the last `USAGE_EXPORT_LEFT_BYTES` of the disk.
- No more than `USAGE_BATCH_ROWS_MAX` rows are in memory, of at most `USAGE_ROWS_MAX` in all.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from decimal import Decimal
from io import BufferedWriter, FileIO, TextIOWrapper
from itertools import repeat
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from meterhouse import limits, zones
from meterhouse.errors import ExportError, StoreError
from meterhouse.limits import USAGE_BATCH_ROWS_MAX, USAGE_ROWS_MAX
from meterhouse.metering.meter_usage import MeterQuestion, plan, windows_of
from meterhouse.metering.overview import Overview, pieces
from meterhouse.metering.window import shown
from meterhouse.usage import overview as statements
from meterhouse.usage.block import INSTANT
from meterhouse.usage.store import UsageStore
from meterhouse.wire.body import number, to_json

Format = Literal["csv", "csv for excel", "json", "parquet"]

VALUE = pa.decimal128(38, 15)  # the widest that is read everywhere
INSTANTS = ("starts_at", "ends_at")
_OF_ZONES = ("timezone", "timezone_rules")
_SECOND = pa.timestamp("s", tz="UTC")
_DIMENSIONS, _TENANTS = "dimensions.", "tenants."


def export(
    store: UsageStore, overview: Overview, path: Path, format_: Format, about: dict[str, Any]
) -> None:
    """Write the answer to an overview to a file, and what it is `about`.

    JSON has that as further members, Parquet as metadata. CSV has columns for the time zone and the
    rules of it, where one was named. Raises `ExportError` when the answer cannot be written; the
    file is worth nothing then.
    """
    schema = schema_of(overview)
    tables = (
        table
        for one in overview.query.questions
        for table in _tables(store, overview.about(one), one, schema)
    )
    with BufferedWriter(_Sparing(path, "wb")) as file:
        if format_ == "json":
            _write_json(file, tables, about, decimal=overview.decimal)
        elif format_ == "parquet":
            _write_parquet(file, tables, schema.with_metadata({"meterhouse": to_json(about)}))
        else:
            same = {name: about[name] for name in _OF_ZONES} if overview.local else {}
            _write_csv(file, tables, schema, same, mark=format_ == "csv for excel")


class _Sparing(FileIO):
    """A file that looks at what is left of its disk, from the first byte on, once in a while."""

    _unlooked = limits.USAGE_EXPORT_LOOK_BYTES

    def write(self, data: Any) -> int:
        self._unlooked += memoryview(data).nbytes
        if self._unlooked >= limits.USAGE_EXPORT_LOOK_BYTES:
            self._unlooked = 0
            disk = os.fstatvfs(self.fileno())
            if disk.f_bavail * disk.f_frsize < limits.USAGE_EXPORT_LEFT_BYTES:
                raise StoreError("The disk is nearly full, so an answer was not written to it.")
        return super().write(data)


def schema_of(overview: Overview) -> pa.Schema:
    """Return the columns of the answer to an overview."""
    questions = overview.query.questions
    dimensions = dict.fromkeys(key for one in questions for key in one.dimension_group_by_keys)
    tenants = dict.fromkeys(key for one in questions for key in one.tenant_group_by_keys)
    columns = [("starts_at", INSTANT), ("ends_at", INSTANT)]
    columns += [("local_start", pa.string())] if overview.local else []
    columns += [("meter", pa.string())]
    columns += [("customer", pa.string())] if overview.by_customer else []
    columns += [(f"{_DIMENSIONS}{key}", pa.string()) for key in dimensions]
    columns += [(f"{_TENANTS}{key}", pa.string()) for key in tenants]
    columns += [("other", pa.bool_())] if overview.top is not None else []
    return pa.schema([*columns, ("value", pa.string())])


def _tables(
    store: UsageStore, overview: Overview, question: MeterQuestion, schema: pa.Schema
) -> Iterator[pa.Table]:
    """Yield the rows of the answer to the only question of an overview, so many at once."""
    found = _ask(store, overview)
    if found.num_rows <= USAGE_BATCH_ROWS_MAX:
        yield _shown(found, overview, question, schema)
        return
    del found
    if overview.top is not None:
        raise _too_many_rows(USAGE_BATCH_ROWS_MAX)
    [rows] = store.columns(*statements.count(overview))["rows"].to_pylist()
    if rows > USAGE_ROWS_MAX:
        raise _too_many_rows(USAGE_ROWS_MAX)
    windows = windows_of(overview.query)
    for piece in pieces(overview, windows, 2 * rows // USAGE_BATCH_ROWS_MAX):
        found = _ask(store, piece)
        if found.num_rows > USAGE_BATCH_ROWS_MAX:
            raise _too_many_rows(USAGE_BATCH_ROWS_MAX)
        yield _shown(found, piece, question, schema)


def _ask(store: UsageStore, overview: Overview) -> pa.Table:
    """Return what an overview of one question finds: nothing in a range that holds no slot."""
    if not plan(overview.query, windows_of(overview.query)).stretches:
        return _found([])
    return store.columns(*statements.answer(overview))


def _found(usages: list[str]) -> pa.Table:
    """Return what a statement finds that tells no groups apart and has these usages."""
    return pa.table(
        {
            "window": pa.array([0] * len(usages), pa.int64()),
            "other": pa.array([False] * len(usages), pa.bool_()),
            "group_0": pa.array([""] * len(usages), pa.string()),
            "usage": pa.array(usages, pa.string()),
        }
    )


def _shown(
    found: pa.Table, overview: Overview, question: MeterQuestion, schema: pa.Schema
) -> pa.Table:
    """Turn what was found into the columns of the answer; 0 is told where nothing is cut."""
    query, rows = overview.query, found.num_rows
    grouped = overview.by_customer or bool(question.groups)
    if not rows and query.window is None and not grouped:
        return _shown(_found(["0"]), overview, question, schema)
    whole, numbers = windows_of(query), found["window"].to_numpy()
    windows = np.array(whole, np.int64).reshape(-1, 2)[numbers]
    columns = {
        "starts_at": pa.array(np.maximum(windows[:, 0], query.start)).cast(INSTANT),
        "ends_at": pa.array(np.minimum(windows[:, 1], query.end)).cast(INSTANT),
        "meter": pa.repeat(pa.scalar(question.meter.id), rows),
        "other": found["other"],
        "value": found["usage"],
    }
    if overview.local:
        zone = zones.zone(query.zone)
        texts = pa.array([shown(one.start, query.window, zone) for one in whole], pa.string())
        columns["local_start"] = texts.take(numbers)
    names = ["customer"] if overview.by_customer else []
    names += [f"{_DIMENSIONS}{key}" for key in question.dimension_group_by_keys]
    names += [f"{_TENANTS}{key}" for key in question.tenant_group_by_keys]
    if rows:
        none = pa.scalar(None, pa.string())
        columns |= {
            name: pc.if_else(found["other"], none, found[f"group_{place}"])
            for place, name in enumerate(names)
        }
    return pa.table(
        [columns.get(column.name, pa.nulls(rows, column.type)) for column in schema], schema=schema
    )


def _write_json(
    file: IO[bytes], tables: Iterable[pa.Table], about: dict[str, Any], *, decimal: bool
) -> None:
    """Write a document whose `data` are the rows; they are written as they come.

    With `decimal` they also have their value as a text.
    """
    head = to_json(about)
    file.write(head[:-1] + b',"data":[')
    between = b""
    for table in tables:
        for row in _documents(table, decimal=decimal):
            file.write(between + to_json(row))
            between = b","
    file.write(b"]}")


def _documents(table: pa.Table, *, decimal: bool) -> Iterator[dict[str, Any]]:
    names = table.column_names
    instants = {name: pc.divide(table[name].cast(pa.int64()), 1000) for name in INSTANTS}
    columns = [instants.get(name, table[name]).to_pylist() for name in names]
    texts = columns[-1]
    columns[-1] = list(map(number, texts))
    if decimal:
        names, columns = [*names, "value_decimal"], [*columns, texts]
    for row in zip(*columns, strict=True):
        yield _nested(dict(zip(names, row, strict=True)))


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """Gather what belongs to one member; of groups that are told apart, null is none."""
    document: dict[str, Any] = {}
    for name, value in row.items():
        member, _, key = name.partition(".")
        if not key:
            document[name] = value
        elif value is None:
            document.setdefault(member, None)
        else:
            document[member] = (document.get(member) or {}) | {key: value}
    return document


def _write_csv(
    file: IO[bytes],
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    same: dict[str, str],
    *,
    mark: bool,
) -> None:
    """Write lines of cells, behind the `mark` of UTF-8 where that is wanted.

    Every line ends with the same cells, which have names.
    """
    text = TextIOWrapper(file, "utf-8-sig" if mark else "utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow([*_defused(pa.array(schema.names)).to_pylist(), *same])
    for table in tables:
        told = [_cells(name, table[name]) for name in schema.names]
        ends = (repeat(cell, table.num_rows) for cell in same.values())
        writer.writerows(zip(*(column.to_pylist() for column in told), *ends, strict=True))
    text.detach()


def _cells(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as the texts that are written, but for quotes."""
    if name == "value":
        return column
    if column.type == pa.string():
        return _defused(column)
    if column.type == INSTANT:
        return pc.strftime(column.cast(_SECOND), format="%Y-%m-%dT%H:%M:%SZ")
    return column.cast(pa.string())


# What makes a formula of a cell, and where a spreadsheet that goes by other separators than commas
# begins another cell. https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"
_DANGEROUS = f"^([\t\r\n]| *{_FORMULA})"
_DANGEROUS_WITHIN = f"([;\t\r\n])( *{_FORMULA})"


def _defused(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Put an apostrophe before what a spreadsheet would take for a formula: then it is a text."""
    texts = pc.replace_substring_regex(texts, _DANGEROUS, r"'\1")
    return pc.replace_substring_regex(texts, _DANGEROUS_WITHIN, r"\1'\2")


def _write_parquet(file: IO[bytes], tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    place = schema.get_field_index("value")
    schema = schema.set(place, pa.field("value", VALUE))
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in tables:
            values = pa.chunked_array([_decimals(table["value"])])
            writer.write_table(table.set_column(place, "value", values).cast(schema))


def _decimals(texts: pa.ChunkedArray) -> pa.Array:
    try:
        return pa.array([Decimal(text) for text in texts.to_pylist()], VALUE)
    except pa.ArrowInvalid as error:
        raise ExportError(
            "A value has more digits than a decimal of Parquet. Ask for CSV or JSON."
        ) from error


def _too_many_rows(rows_max: int) -> ExportError:
    return ExportError(
        f"The answer would have more than {rows_max} rows. Ask for a shorter time range, a smaller "
        "value_grouping_window, or the top groups."
    )
