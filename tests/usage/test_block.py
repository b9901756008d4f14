from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.identifier import DIGEST_BYTES, Claims
from meterhouse.metering.model import Scope
from meterhouse.metering.window import Window
from meterhouse.usage import block
from tests.metering.samples import NOW, SCOPE, at, values
from tests.usage.samples import (
    accepted,
    accepted_blocks,
    cancelled_blocks,
    rejected,
    rejected_blocks,
    stored,
)

SCOPES = {SCOPE.id: SCOPE}
NOVEMBER = Window(at("1"), at("30") + 86_400_000)


def test_an_accepted_event_by_column() -> None:
    row = accepted(SCOPE, "-1.5", identifier="é😀", payload={"a": "1", "b": ""})
    [made] = accepted_blocks([row], SCOPES)
    assert (made.destination, made.partition, made.rows) == ("events", "202611", 1)
    assert block.first_row(made.body) == {
        "account": "acct_1",
        "livemode": False,
        "meter": "mtr_1",
        "customer": "cus_1",
        "timestamp": NOW,
        "position": row.position,
        "sign": 1,
        "value": Decimal("-1.5"),
        "received_at": NOW,
        "event_name": "calls",
        "identifier": "é😀",
        "payload": [("a", "1"), ("b", "")],
    }


def test_a_cancellation_repeats_the_event_with_the_other_sign() -> None:
    row = accepted(SCOPE)
    [event] = accepted_blocks([row], SCOPES)
    [cancellation] = cancelled_blocks([stored(row, SCOPE)])
    assert cancellation.destination == "events"
    assert cancellation.partition == event.partition
    assert block.first_row(cancellation.body) == block.first_row(event.body) | {"sign": -1}


def test_a_rejected_event_by_column() -> None:
    row = rejected(SCOPE, "no_meter", received_at=NOW + 5)
    [made] = rejected_blocks([row], SCOPES)
    assert (made.destination, made.partition, made.rows) == ("rejected_events", "202611", 1)
    assert block.first_row(made.body) == {
        "account": "acct_1",
        "livemode": False,
        "meter": "",
        "event_name": "calls",
        "identifier": "event-1",
        "code": "no_meter",
        "message": "Why.",
        "payload": [("stripe_customer_id", "cus_1"), ("value", "25")],
        "timestamp": NOW,
        "received_at": NOW + 5,
        "position": row.position,
    }


@pytest.mark.parametrize(
    ("instant", "month"),
    [
        (NOVEMBER.start - 1, "202610"),
        (NOVEMBER.start, "202611"),
        (NOVEMBER.end - 1, "202611"),
        (NOVEMBER.end, "202612"),
        (0, "197001"),
        (1_709_164_800_000, "202402"),  # 29 February 2024
    ],
)
def test_the_month_of_a_row(instant: int, month: str) -> None:
    [event] = accepted_blocks([accepted(SCOPE, timestamp=instant)], SCOPES)
    [cancellation] = cancelled_blocks([stored(accepted(SCOPE, timestamp=instant), SCOPE)])
    [rejection] = rejected_blocks([rejected(SCOPE, "no_meter", received_at=instant)], SCOPES)
    assert [event.partition, cancellation.partition, rejection.partition] == [month] * 3


def test_each_month_is_a_block_of_one_batch() -> None:
    instants = [NOVEMBER.start - 1, NOVEMBER.start, NOVEMBER.end, NOVEMBER.start + 1]
    rows = [accepted(SCOPE, timestamp=instant) for instant in instants]
    made = accepted_blocks(rows, SCOPES)
    assert {one.partition: one.rows for one in made} == {"202610": 1, "202611": 2, "202612": 1}
    for one in made:
        assert block.read(one.body).num_rows == one.rows


def test_every_row_keeps_its_own_scope_and_payload() -> None:
    live = Scope(2, "acct_2", livemode=True)
    rows = [
        accepted(live, payload={"k": "1"}),
        accepted(SCOPE, payload={}),
        accepted(live, payload={"k": "2", "l": "3"}),
    ]
    [made] = accepted_blocks(rows, SCOPES | {live.id: live})
    read = block.read(made.body).to_pylist()
    assert [(row["account"], row["livemode"]) for row in read] == [
        ("acct_2", True),
        ("acct_1", False),
        ("acct_2", True),
    ]
    assert [dict(row["payload"]) for row in read] == [row.event.payload for row in rows]


def test_no_rows_are_no_block() -> None:
    assert accepted_blocks([], {}) == cancelled_blocks([]) == rejected_blocks([], {}) == []
    assert block.identifiers(Claims([], [], [])) == []


def test_a_claim_by_column() -> None:
    digest = bytes(range(16))
    [made] = block.identifiers(Claims([digest], [7], [20_778]))
    assert (made.destination, made.partition, made.rows) == ("identifiers", "20778", 1)
    assert block.first_row(made.body) == {
        "high": int.from_bytes(digest[:8], "little"),
        "low": int.from_bytes(digest[8:], "little"),
        "position": 7,
        "day": 20_778,
    }


claims = st.tuples(
    st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES),
    st.integers(1, 2**63 - 1),
    st.integers(0, 2**32 - 1) | st.sampled_from([20_777, 20_778]),
)


@given(st.lists(claims, min_size=1, max_size=20))
def test_claims_come_back_as_they_went_in_a_block_for_each_day(
    some: list[tuple[bytes, int, int]],
) -> None:
    made = block.identifiers(Claims(*(list(column) for column in zip(*some, strict=True))))
    for one in made:
        expected = [row for row in some if str(row[2]) == one.partition]
        assert list(zip(*block.claims(one.body), strict=True)) == expected
        assert one.rows == len(expected)
    assert sum(one.rows for one in made) == len(some)


@given(values())
def test_every_value_is_kept_exactly(value: Decimal) -> None:
    [made] = accepted_blocks([accepted(SCOPE, str(value))], SCOPES)
    assert block.first_row(made.body)["value"] == value
