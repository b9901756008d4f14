"""Columns of few distinct values, and what else is done with columns whatever is in them."""

from collections.abc import Hashable, Sequence
from math import prod
from typing import Generic, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
ValueT = TypeVar("ValueT")
HashableT = TypeVar("HashableT", bound=Hashable)

NONE = -1  # the number of what is not there

_WHOLE_MAX = 2**62  # a row of columns as one number
_SPARSE = 4  # times as many possible values as there are, which an array of flags is still worth


class Coded(NamedTuple, Generic[ValueT]):
    """A column of few distinct `values`: of each event the number of its own, or `NONE`."""

    numbers: Numbers
    values: Sequence[ValueT]

    def of(self, event: int) -> ValueT:
        """Return the value of an event, which has one."""
        number: int = self.numbers[event]
        return self.values[number]

    def take(self, events: Numbers) -> Self:
        """Return the column of some of the events."""
        return self._replace(numbers=self.numbers[events])

    def joined(self, other: Self) -> Self:
        """Return the columns of other events behind this one."""
        values = list(dict.fromkeys([*self.values, *other.values]))
        places = {value: number for number, value in enumerate(values)}
        numbers = np.array([*(places[value] for value in other.values), NONE])[other.numbers]
        mine = np.array([*(places[value] for value in self.values), NONE])[self.numbers]
        return self._replace(numbers=np.concatenate([mine, numbers]), values=values)


def coded(column: pa.Array) -> "Coded[str]":
    """Code a column of texts; nothing at all is `NONE`."""
    encoded = column.dictionary_encode()
    numbers = encoded.indices.fill_null(NONE).to_numpy().astype(np.int64)
    return Coded(numbers, encoded.dictionary.to_pylist())


def texts(column: "Coded[str]") -> pa.Array:
    """Return a coded column of texts as the usage store takes it: no text stands there twice."""
    places = {text: place for place, text in enumerate(dict.fromkeys(column.values))}
    numbers = np.array([places[text] for text in column.values], np.int32)
    return pa.DictionaryArray.from_arrays(
        pa.array(numbers[column.numbers]), pa.array(list(places), pa.string())
    )


def distinct(*columns: Numbers) -> tuple[list[Numbers], Numbers]:
    """Return the distinct rows of some columns, column by column, and of each row its number.

    What stands in the columns is not negative. Rows are in the order of the columns' values.
    """
    rows, widths = columns[0], [_size(columns[0])]
    for column in columns[1:]:
        widths.append(_size(column))
        if prod(widths) > _WHOLE_MAX:
            return _distinct_of_many(columns)
        rows = rows * widths[-1] + column
    found, numbers = _unique(rows, prod(widths))
    parts: list[Numbers] = []
    for width in widths[:0:-1]:
        found, part = np.divmod(found, width)
        parts.append(part)
    return [found, *parts[::-1]], numbers


def _size(column: Numbers) -> int:
    return int(column.max(initial=0)) + 1


def _unique(values: Numbers, size: int) -> tuple[Numbers, Numbers]:
    """Return the distinct ones of values below a size in order, and of each value its place."""
    if size > _SPARSE * len(values):
        return np.unique(values, return_inverse=True)
    present = np.zeros(size, np.bool_)
    present[values] = True
    places = np.cumsum(present) - 1
    return np.flatnonzero(present), places[values]


def _distinct_of_many(columns: Sequence[Numbers]) -> tuple[list[Numbers], Numbers]:
    """Do the same where a row is too much for one number."""
    table, numbers = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    return list(table.T), numbers


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Make one batch of several that have the same columns."""
    some = [batch for batch in batches if batch.num_rows] or batches[:1]
    if len(some) > 1:
        some = pa.Table.from_batches(some).unify_dictionaries().combine_chunks().to_batches()
    [batch] = some
    return batch


def mask(column: pa.BooleanArray) -> Mask:
    """Return a column of truths as an array."""
    found: Mask = column.to_numpy(zero_copy_only=False)
    return found


def empty(column: pa.StringArray) -> Mask:
    """Tell which texts are empty."""
    return mask(pc.equal(pc.binary_length(column), 0))
