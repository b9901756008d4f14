import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.columns import Events
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.part import Part
from tests.metering.rows import events_of
from tests.metering.samples import event
from tests.metering.test_batches import batches


@given(batches, batches, st.data())
def test_columns_hold_their_events(
    some: list[MeterEvent], more: list[MeterEvent], data: st.DataObject
) -> None:
    numbered = list(enumerate([*some, *more], 7))
    columns = Events.of(range(7, 7 + len(some)), some).joined(
        Events.of(range(7 + len(some), 7 + len(numbered)), more)
    )
    assert events_of(Events.of_parts(columns.positions, [Part.of(some), Part.of(more)])) == numbered
    assert events_of(columns) == numbered
    if numbered:
        taken = data.draw(st.lists(st.integers(0, len(numbered) - 1), max_size=5))
        assert events_of(columns.take(np.array(taken, np.int64))) == [
            numbered[one] for one in taken
        ]


def test_payloads_are_maps_in_the_order_of_their_keys() -> None:
    payloads = [{"b": "1", "a": "é"}, {}, {"a": "", "b": "2", "c": "\0"}]
    columns = Events.of(range(3), [event(payload=payload) for payload in payloads])
    assert columns.payloads().to_pylist() == [list(payload.items()) for payload in payloads]


def test_values_are_found_by_each_events_own_key() -> None:
    payloads = [{"a": "1", "b": "2"}, {"b": "3", "a": "4"}, {"b": "5"}, {}, {"a": "6"}]
    columns = Events.of(range(5), [event(payload=payload) for payload in payloads])
    assert columns.values(["a"], np.zeros(5, np.int64)).to_pylist() == ["1", "4", "", "", "6"]
    of = np.array([0, 1, 1, 0, -1])
    assert columns.values(["a", "b"], of).to_pylist() == ["1", "3", "5", "", ""]
    assert columns.values(["a", None], of).to_pylist() == ["1", "", "", "", ""]
    assert columns.coded_values(["a", "a"], of * 0).values == ["1", "4", "", "6"]
    assert columns.named_by("a") == {(1, "1"), (1, "4"), (1, "6")}
