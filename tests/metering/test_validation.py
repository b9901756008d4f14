from collections.abc import Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.limits import DIMENSION_COMBINATIONS_MAX
from meterhouse.metering.columns import Events
from meterhouse.metering.model import Meter, MeterEvent, TimedBy
from meterhouse.metering.problem import (
    Problem,
    earliest_timestamp,
    reject_combination,
    timestamp_problem,
)
from meterhouse.metering.validation import (
    STEPS,
    Catalog,
    check_dimensions,
    check_timestamps,
    dimension_digest,
    find_customers,
    find_meter,
    find_values,
    judge,
    read_customers,
)
from tests.metering.oracle import TOO_MANY_DIGITS, Oracle, OracleMeter
from tests.metering.rows import AcceptedEvent, RejectedEvent, accepted_rows, rejected_rows
from tests.metering.samples import DAY, MINUTE, NOW, SCOPE, SECOND, event, meter

COUNTING = meter(id="mtr_count", event_name="visits", formula="count")
CUT = meter(id="mtr_cut", event_name="tokens", dimension_keys=("model", "region"))
OWN_KEYS = meter(id="mtr_own", event_name="bytes", customer_key="who", value_key="size")
OLD = meter(id="mtr_old", event_name="letters", active=False, deactivated_at=NOW - 1)
METERS = (meter(), COUNTING, CUT, OWN_KEYS, OLD)

CATALOG = Catalog(
    meters={row.id: row for row in METERS},
    active={(row.scope, row.event_name): row for row in METERS if row.active},
    archived={(OLD.scope, OLD.event_name): OLD},
    customers={
        (SCOPE.id, "cus_1"): None,
        (SCOPE.id, "cus_gone"): NOW,
        (SCOPE.id, "cus_going"): NOW + 1,
        (2, "cus_elsewhere"): None,
    },
)


def judge_one(
    position: int, sent: MeterEvent, catalog: Catalog = CATALOG
) -> AcceptedEvent | RejectedEvent:
    [verdict] = judge_all([(position, sent)], catalog)
    return verdict


def judge_all(
    numbered: Sequence[tuple[int, MeterEvent]], catalog: Catalog = CATALOG
) -> list[AcceptedEvent | RejectedEvent]:
    """Judge events together; return what becomes of each, in the order of their positions."""
    positions, events = zip(*numbered, strict=True) if numbered else ((), ())
    accepted, rejected = judge(Events.of(positions, events), catalog)
    found: list[AcceptedEvent | RejectedEvent] = [
        *accepted_rows(accepted),
        *rejected_rows(rejected),
    ]
    assert len(found) == len(numbered)
    return sorted(found, key=itemgetter(0))


def payload(**pairs: str) -> dict[str, str]:
    return {"stripe_customer_id": "cus_1", "value": "25"} | pairs


# what is particular about the event, the meter it counts on, the value that counts
ACCEPTED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "mtr_1", "25"),
    ({"meter": "mtr_1"}, "mtr_1", "25"),
    ({"meter": "mtr_old", "event_name": "letters"}, "mtr_old", "25"),  # deactivated since
    ({"timestamp": NOW - 35 * DAY}, "mtr_1", "25"),
    ({"timestamp": NOW + 5 * MINUTE}, "mtr_1", "25"),
    ({"payload": payload(stripe_customer_id="cus_going")}, "mtr_1", "25"),
    ({"payload": payload(value="-0.125")}, "mtr_1", "-0.125"),
    ({"payload": payload(value="0")}, "mtr_1", "0"),
    ({"payload": payload(value="2.5e-06")}, "mtr_1", "0.0000025"),
    ({"payload": payload(value="1E+3"), "whole": True}, "mtr_1", "1000"),
    ({"payload": payload(value="-7"), "whole": True}, "mtr_1", "-7"),
    ({"payload": payload(anything="else")}, "mtr_1", "25"),
    ({"event_name": "bytes", "payload": {"who": "cus_1", "size": "3"}}, "mtr_own", "3"),
    ({"event_name": "visits"}, "mtr_count", "25"),
    ({"event_name": "visits", "payload": payload(value="many")}, "mtr_count", "1"),
    ({"event_name": "visits", "payload": payload(value="")}, "mtr_count", "1"),
    ({"event_name": "visits", "payload": {"stripe_customer_id": "cus_1"}}, "mtr_count", "1"),
    ({"event_name": "visits", "payload": payload(value="9" * 16)}, "mtr_count", "1"),
    ({"event_name": "visits", "payload": payload(value="1.5"), "whole": True}, "mtr_count", "1"),
    ({"event_name": "tokens", "payload": payload(model="m", region="eu")}, "mtr_cut", "25"),
]

TOO_OLD = (
    "The event timestamp cannot be more than 35 days in past. "
    f"Expected a timestamp greater than or equal to {(NOW - 35 * DAY) // 1000}."
)

# what is particular about the event, the meter it is reported for, the code, the sentence
REJECTED: list[tuple[dict[str, Any], str | None, str, str]] = [
    (
        {"event_name": "call"},
        None,
        "no_meter",
        "No meter was found matching event_name call.",
    ),
    (
        {"scope": 2},
        None,
        "no_meter",
        "No meter was found matching event_name calls.",
    ),
    (
        {"event_name": "letters"},
        "mtr_old",
        "archived_meter",
        "The meter matching event_name letters has been deactivated.",
    ),
    (
        {"timestamp": NOW - 35 * DAY - SECOND},
        "mtr_1",
        "timestamp_too_far_in_past",
        TOO_OLD,
    ),
    (
        {"timestamp": NOW + 5 * MINUTE + 1},
        "mtr_1",
        "timestamp_in_future",
        "The event timestamp cannot be in future.",
    ),
    (
        {"payload": {"value": "25"}},
        "mtr_1",
        "meter_event_no_customer_defined",
        "Customer mapping key stripe_customer_id not found in payload.",
    ),
    (
        {"payload": payload(stripe_customer_id="")},
        "mtr_1",
        "meter_event_no_customer_defined",
        "Customer mapping key stripe_customer_id not found in payload.",
    ),
    (
        {"event_name": "bytes", "payload": payload(size="3")},
        "mtr_own",
        "meter_event_no_customer_defined",
        "Customer mapping key who not found in payload.",
    ),
    (
        {"payload": payload(stripe_customer_id="cus_2")},
        "mtr_1",
        "meter_event_customer_not_found",
        "No customer was found matching cus_2.",
    ),
    (
        {"payload": payload(stripe_customer_id="cus_elsewhere")},
        "mtr_1",
        "meter_event_customer_not_found",
        "No customer was found matching cus_elsewhere.",
    ),
    (
        {"payload": payload(stripe_customer_id="cus_gone")},
        "mtr_1",
        "meter_event_customer_not_found",
        "The customer cus_gone has been deleted.",
    ),
    (
        {"payload": {"stripe_customer_id": "cus_1"}},
        "mtr_1",
        "meter_event_value_not_found",
        "Value settings key value not found in payload.",
    ),
    (
        {"event_name": "bytes", "payload": {"who": "cus_1", "size": ""}},
        "mtr_own",
        "meter_event_value_not_found",
        "Value settings key size not found in payload.",
    ),
    (
        {"payload": payload(value="1e")},
        "mtr_1",
        "meter_event_invalid_value",
        "The value in the event payload must be a decimal number. Received 1e.",
    ),
    (
        {"payload": payload(value="1.5"), "whole": True},
        "mtr_1",
        "meter_event_invalid_value",
        "The value in the event payload must be a whole number. Received 1.5.",
    ),
    (
        {"payload": payload(value="1234567890.123456")},
        "mtr_1",
        "meter_event_value_too_many_digits",
        "The value in the event payload can have at most 15 digits. Received 1234567890.123456.",
    ),
    (
        {"payload": payload(value="1e-16")},
        "mtr_1",
        "meter_event_value_too_many_digits",
        "The value in the event payload can have at most 15 digits. Received 1e-16.",
    ),
    (
        {"payload": payload(value="1e-07"), "whole": True},
        "mtr_1",
        "meter_event_invalid_value",
        "The value in the event payload must be a whole number. Received 1e-07.",
    ),
    (
        {"event_name": "tokens", "payload": payload(region="eu")},
        "mtr_cut",
        "missing_dimension_payload_keys",
        "Dimension payload keys model not found in payload.",
    ),
    (
        {"event_name": "tokens", "payload": payload(region="")},
        "mtr_cut",
        "missing_dimension_payload_keys",
        "Dimension payload keys model, region not found in payload.",
    ),
]


@pytest.mark.parametrize(("changes", "meter_id", "value"), ACCEPTED)
def test_accepts(changes: dict[str, Any], meter_id: str, value: str) -> None:
    sent = event(**changes)
    customer = sent.payload.get("who") or sent.payload["stripe_customer_id"]
    expected = AcceptedEvent(7, sent, meter_id, customer, Decimal(value))
    assert judge_one(7, sent) == expected


@pytest.mark.parametrize(("changes", "meter_id", "code", "message"), REJECTED)
def test_rejects(changes: dict[str, Any], meter_id: str | None, code: str, message: str) -> None:
    sent = event(**changes)
    assert judge_one(7, sent) == RejectedEvent(7, sent, meter_id, code, message)


def test_the_first_step_that_objects_decides() -> None:
    steps = (
        find_meter,
        check_timestamps,
        read_customers,
        find_customers,
        find_values,
        check_dimensions,
    )
    assert steps == STEPS
    wrong = {"event_name": "letters", "timestamp": 0, "payload": {}}
    mended: list[dict[str, Any]] = [
        {"event_name": "tokens"},
        {"timestamp": NOW},
        {"payload": {"stripe_customer_id": "cus_2"}},
        {"payload": {"stripe_customer_id": "cus_1"}},
        {"payload": payload()},
    ]
    codes = []
    for mend in ({}, *mended):
        wrong |= mend
        verdict = judge_one(1, event(**wrong))
        assert isinstance(verdict, RejectedEvent)
        codes.append(verdict.code)
    assert codes == [
        "archived_meter",
        "timestamp_too_far_in_past",
        "meter_event_no_customer_defined",
        "meter_event_customer_not_found",
        "meter_event_value_not_found",
        "missing_dimension_payload_keys",
    ]


def test_an_active_meter_hides_an_archived_one_of_its_name() -> None:
    new = meter(id="mtr_new", event_name="letters")
    catalog = msgspec.structs.replace(CATALOG, active={(new.scope, new.event_name): new})
    verdict = judge_one(1, event(event_name="letters"), catalog)
    assert isinstance(verdict, AcceptedEvent)
    assert verdict.meter == "mtr_new"


def test_a_checked_meter_that_the_catalog_lacks_is_our_mistake_and_loses_no_event() -> None:
    with pytest.raises(KeyError):
        judge_one(1, event(meter="mtr_unheard_of"))


@pytest.mark.parametrize(
    ("age", "problem"),
    [
        (35 * DAY + 1, "timestamp_too_far_in_past"),
        (35 * DAY, None),
        (0, None),
        (-5 * MINUTE, None),
        (-5 * MINUTE - 1, "timestamp_in_future"),
    ],
)
def test_timestamps_at_their_bounds(age: int, problem: str | None) -> None:
    assert timestamp_problem(NOW - age, NOW) == problem
    assert earliest_timestamp(NOW) == NOW - 35 * DAY


def test_the_earliest_timestamp_told_is_one_that_would_pass() -> None:
    received_at = NOW + 1
    verdict = judge_one(1, event(timestamp=0, received_at=received_at))
    assert isinstance(verdict, RejectedEvent)
    seconds = int(verdict.message.rstrip(".").rsplit(" ", 1)[1])
    assert timestamp_problem(seconds * 1000, received_at) is None
    assert timestamp_problem((seconds - 1) * 1000, received_at) is not None


PARTS = st.text(alphabet="a1:\0é", max_size=4)


@given(st.tuples(PARTS, PARTS), st.tuples(PARTS, PARTS))
def test_a_digest_stands_for_the_values_and_nothing_else(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (dimension_digest(one) == dimension_digest(other)) == (one == other)
    assert 0 <= dimension_digest(one) < 2**63


def test_one_combination_too_many() -> None:
    assert reject_combination("cus_1") == Problem(
        "meter_event_dimension_count_too_high",
        f"The customer cus_1 has reached the limit of {DIMENSION_COMBINATIONS_MAX} "
        "combinations of dimension values on this meter.",
    )


PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "stripe_customer_id": st.sampled_from(["cus_1", "cus_2", "cus_gone", ""]),
        "value": st.sampled_from(
            ["1", "-2.5", "0", "", "x", "1e5", "1e-7", "1e", "9" * 16, "٣", "1.0"]
        ),
        "model": st.sampled_from(["small", "large", ""]),
        "region": st.sampled_from(["eu", "us", ""]),
    },
)


@given(st.sampled_from([meter(), COUNTING, CUT]), PAYLOADS, st.integers(-40, 40), st.booleans())
def test_judges_as_the_oracle_does(
    measured: Meter, pairs: dict[str, str], days: int, whole: bool
) -> None:
    sent = event(
        event_name=measured.event_name,
        payload=pairs,
        timestamp=NOW + days * DAY,
        meter=measured.id,
        whole=whole,
    )
    oracle = Oracle(whole=whole, customers={"cus_1"})
    oracle.activate(
        OracleMeter(
            measured.id,
            measured.event_name,
            measured.formula,
            dimension_keys=measured.dimension_keys or (),
        )
    )
    answer = oracle.send(sent.event_name, "event-1", pairs, sent.timestamp, NOW)
    verdict = judge_one(1, sent)
    if answer == TOO_MANY_DIGITS:  # refused at once, before the customer is looked at
        assert isinstance(verdict, RejectedEvent)
        return
    if answer == "acknowledged":
        [known] = oracle.events
        answer = known.outcome
        assert not isinstance(verdict, AcceptedEvent) or verdict.value == known.value
    assert (verdict.code if isinstance(verdict, RejectedEvent) else "accepted") == answer


FROZEN = NOW - 365 * DAY
CLOCKED = msgspec.structs.replace(CATALOG, frozen={(SCOPE.id, "cus_1"): FROZEN})
EARLY, LATE = "timestamp_too_far_in_past", "timestamp_in_future"


@pytest.mark.parametrize(
    ("timestamp", "timed_by", "customer", "outcome"),
    [
        (FROZEN, "sender", "cus_1", FROZEN),
        (FROZEN - 35 * DAY, "sender", "cus_1", FROZEN - 35 * DAY),
        (FROZEN - 35 * DAY - 1, "sender", "cus_1", EARLY),
        (FROZEN + 5 * MINUTE, "sender", "cus_1", FROZEN + 5 * MINUTE),
        (FROZEN + 5 * MINUTE + 1, "sender", "cus_1", LATE),
        (NOW, "sender", "cus_1", LATE),
        # What came without a timestamp happens then; what was checked before is not checked again.
        (NOW, "receipt", "cus_1", FROZEN),
        (FROZEN - 99 * DAY, "clock", "cus_1", FROZEN - 99 * DAY),
        # Whoever has no clock lives in the present.
        (NOW, "receipt", "cus_going", NOW),
        (FROZEN, "sender", "cus_going", EARLY),
    ],
)
def test_customers_of_a_test_clock_are_measured_by_its_time(
    timestamp: int, timed_by: TimedBy, customer: str, outcome: int | str
) -> None:
    sent = msgspec.structs.replace(
        event(timestamp=timestamp, payload=payload(stripe_customer_id=customer)), timed_by=timed_by
    )
    judged = judge_one(1, sent, CLOCKED)
    told = judged.event.timestamp if isinstance(judged, AcceptedEvent) else judged.code
    assert told == outcome
    # Others beside it change nothing.
    assert judge_all([*enumerate([event(), sent, event()])], CLOCKED)[1] == (1, *judged[1:])


def test_what_was_checked_by_a_clock_that_is_gone_is_not_checked_again() -> None:
    sent = msgspec.structs.replace(event(timestamp=FROZEN), timed_by="clock")
    assert isinstance(judge_one(1, sent), AcceptedEvent)
