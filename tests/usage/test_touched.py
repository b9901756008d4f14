"""What a batch has used, by customer: never less than what totals rise by."""

from decimal import Decimal

import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from meterhouse.metering.columns import VALUE
from meterhouse.usage import block
from meterhouse.usage.touched import USED_LIMIT, merged, touched

Row = tuple[str, str, int, str]  # meter, customer, sign, value


def events(*rows: Row, position: int = 1) -> pa.RecordBatch:
    """Return events and cancellations, one a position and a millisecond."""
    meters, customers, signs, values = zip(*rows, strict=True)
    numbers = range(position, position + len(rows))
    return pa.record_batch(
        {
            "meter": pa.array(meters).dictionary_encode(),
            "customer": pa.array(customers),
            "sign": pa.array(signs, pa.int8()),
            "value": pa.array(map(Decimal, values), VALUE),
            "timestamp": pa.array([1_000 + number for number in numbers], block.INSTANT),
            "position": pa.array(numbers, pa.uint64()),
        }
    )


@pytest.mark.parametrize(
    ("rows", "used", "counted"),
    [
        ([("m", "c", 1, "1.5")], 2, 1),
        ([("m", "c", 1, "1.5"), ("m", "c", 1, "1.5")], 3, 2),
        ([("m", "c", 1, "5"), ("m", "c", 1, "-3")], 5, 2),
        ([("m", "c", 1, "5"), ("m", "c", -1, "5")], 5, 1),
        ([("m", "c", -1, "-2.5")], 3, 0),
        ([("m", "c", 1, "0.000000000000001")], 1, 1),
        ([("m", "c", 1, "999999999999999.999")], USED_LIMIT, 1),
        ([("m", "c", 1, "999999999999999")] * 3, USED_LIMIT, 3),
    ],
)
def test_what_a_customer_has_used_at_most(rows: list[Row], used: int, counted: int) -> None:
    [row] = touched(events(*rows)).to_pylist()
    assert (row["used"], row["events"]) == (used, counted)


def test_meters_and_customers_are_told_apart_and_when_and_what_was_newest() -> None:
    rows = touched(
        events(("a", "x", 1, "1"), ("a", "y", 1, "2"), ("a", "x", 1, "3"), ("b", "x", 1, "4"))
    )
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("a", "x", 4, 2, 1_001, 1_003, 3),
        ("a", "y", 2, 1, 1_002, 1_002, 2),
        ("b", "x", 4, 1, 1_004, 1_004, 4),
    ]


def test_several_batches_become_one() -> None:
    first = touched(events(("a", "x", 1, "1"), ("a", "y", 1, "2")))
    second = touched(events(("b", "x", 1, "3"), ("a", "x", 1, str(USED_LIMIT - 1)), position=11))
    assert merged([first]).equals(first)
    again = [block.read(block.body_of(one)) for one in (first, second)]
    found = sorted(tuple(row.values()) for row in merged(again).to_pylist())
    assert found == [
        ("a", "x", USED_LIMIT, 2, 1_001, 1_012, 12),
        ("a", "y", 2, 1, 1_002, 1_002, 2),
        ("b", "x", 3, 1, 1_011, 1_011, 11),
    ]


def test_nothing_is_no_rows() -> None:
    assert touched(events(("a", "x", 1, "1")).slice(0, 0)).num_rows == 0
