import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.wire.event_id import EventIds

IDS = EventIds(b"k" * 32)
NUMBERS = st.integers(0, 2**64 - 1)
SCOPES = st.integers(1, 2**31 - 1)


@given(SCOPES, NUMBERS)
def test_an_id_stands_for_its_position(scope: int, position: int) -> None:
    shown = IDS.show(scope, position)
    assert len(shown) == len("mev_") + 11
    assert IDS.position(scope, shown) == position


def test_ids_are_the_same_after_a_restart_and_on_every_node() -> None:
    assert EventIds(b"k" * 32).show(1, 1) == IDS.show(1, 1)
    assert IDS.show(1, 1) == "mev_undUq4yAw6r"


def test_no_two_positions_scopes_or_ledgers_have_one_id() -> None:
    shown = {IDS.show(scope, position) for scope in (1, 2, 12) for position in range(1_000)}
    shown |= {EventIds(b"l" * 32).show(1, position) for position in range(1_000)}
    assert len(shown) == 4_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mev_",
        "mev_1",
        "evt_" + "a" * 11,
        "mev_" + "a" * 10,
        "mev_" + "a" * 12,
        "mev_" + "9" * 11,  # more than 64 bits
        "mev_" + "\u0661" * 11,
        "mev_" + "-" * 11,
        "a" * 15,
    ],
)
def test_what_is_no_id_stands_for_nothing(text: str) -> None:
    assert IDS.position(1, text) is None
