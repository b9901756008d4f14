import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.coded import NONE, Coded, coded, distinct, texts

numbers = st.integers(0, 5) | st.integers(0, 2**40)


@given(st.lists(st.tuples(numbers, numbers, numbers), max_size=30))
def test_distinct_rows_are_in_order_and_every_row_has_its_own(
    rows: list[tuple[int, int, int]],
) -> None:
    table = np.array(rows, np.int64).reshape(-1, 3)
    columns, of = distinct(*table.T)
    found = list(zip(*(column.tolist() for column in columns), strict=True))
    assert found == sorted(set(rows))
    assert [found[number] for number in of] == rows


def test_a_column_of_texts_is_coded() -> None:
    found = coded(pa.array(["b", None, "a", "b", ""]))
    assert (found.numbers.tolist(), found.values) == ([0, NONE, 1, 0, 2], ["b", "a", ""])
    assert found.take(np.array([4, 0])).numbers.tolist() == [2, 0]


def test_equal_values_become_one() -> None:
    """The usage store refuses a dictionary in which a value stands twice."""
    column = texts(Coded(np.array([2, 0, 1]), ["a", "b", "a"]))
    assert column.to_pylist() == ["a", "a", "b"]
    assert column.dictionary.to_pylist() == ["a", "b"]
    one, other = Coded(np.array([0, NONE]), ["a"]), Coded(np.array([1, NONE, 0]), ["b", "a"])
    joined = one.joined(other)
    assert (joined.numbers.tolist(), joined.values) == ([0, NONE, 0, NONE, 1], ["a", "b"])
