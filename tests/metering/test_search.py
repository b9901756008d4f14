from typing import Any

import pytest

from meterhouse.metering import search
from meterhouse.metering.model import Meter
from meterhouse.metering.search import EventSearch, FoundEvent, Hint, filled, hint
from meterhouse.metering.validation import Catalog
from tests.metering.samples import EVENT, METER, NOW, SCOPE, event, meter

FOUND = search.pending(7, EVENT, Catalog({METER.id: METER}, {(1, "calls"): METER}, {}, {}))


def found(**changes: Any) -> FoundEvent:
    values = {name: getattr(FOUND, name) for name in FoundEvent.__struct_fields__}
    return FoundEvent(**(values | changes))


def rejected(code: str, **changes: Any) -> FoundEvent:
    return found(outcome="rejected", code=code, **changes)


def test_a_pending_event() -> None:
    assert found() == FoundEvent(
        position=7,
        outcome="pending",
        meter="mtr_1",
        customer="cus_1",
        event_name="calls",
        identifier="event-1",
        timestamp=NOW,
        received_at=NOW,
        value=found().value,
        payload=EVENT.payload,
    )
    assert str(found().value) == "25"


def test_a_pending_event_of_no_meter() -> None:
    made = search.pending(7, EVENT, Catalog({}, {}, {}, {}))
    assert (made.meter, made.customer, made.value) == ("", "cus_1", None)


def test_a_pending_event_whose_meter_was_archived_or_checked() -> None:
    other = meter(id="mtr_2", customer_key="buyer")
    catalog = Catalog({"mtr_2": other}, {}, {(1, "calls"): other}, {})
    payload = {"buyer": "cus_2"}
    for one in (event(payload=payload), event(payload=payload, meter="mtr_2")):
        made = search.pending(7, one, catalog)
        assert (made.meter, made.customer) == ("mtr_2", "cus_2")


@pytest.mark.parametrize("text", ["x", "", None])
def test_a_value_that_does_not_count_is_none(text: str | None) -> None:
    payload = {} if text is None else {"value": text}
    assert filled(found(payload=payload), METER).value is None


def test_what_was_judged_stays_as_it_was_judged() -> None:
    accepted = found(outcome="accepted", customer="cus_9")
    assert filled(accepted, METER) is accepted


@pytest.mark.parametrize(
    ("wanted", "wants"),
    [
        ({}, True),
        ({"meter": "mtr_1"}, True),
        ({"meter": "mtr_2"}, False),
        ({"identifiers": ("event-1", "b")}, True),
        ({"identifiers": ()}, False),
        ({"positions": (7,)}, True),
        ({"positions": (8,)}, False),
        ({"outcome": "pending"}, True),
        ({"code": "no_meter"}, False),
        ({"received": (NOW, NOW + 1)}, True),
        ({"received": (None, NOW)}, False),
        ({"timestamp": (NOW + 1, None)}, False),
    ],
)
def test_what_a_search_wants(wanted: dict[str, Any], wants: bool) -> None:
    assert EventSearch(scope=SCOPE, **wanted).wants(found()) is wants


NO_CUSTOMER = "meter_event_no_customer_defined"
NO_VALUE = "meter_event_value_not_found"
NO_DIMENSION = "missing_dimension_payload_keys"
REGIONAL: Meter = meter(dimension_keys=("region", "tier"))


@pytest.mark.parametrize(
    ("one", "measured", "known", "clue"),
    [
        (rejected("no_meter", event_name="cals"), None, ["calls", "x"], Hint("cals", "calls")),
        (rejected("no_meter", event_name="CALLS"), None, ["calls"], Hint("CALLS", "calls")),
        (rejected("no_meter", event_name="storage"), None, ["calls"], None),
        (rejected("no_meter", event_name="calls"), None, ["calls"], None),
        (rejected("no_meter"), None, [], None),
        (
            rejected("meter_event_customer_not_found", customer="cus_ABCDE"),
            METER,
            ["cus_ABCDF"],
            Hint("cus_ABCDE", "cus_ABCDF"),
        ),
        (
            rejected(NO_CUSTOMER, payload={"stripe_customer": "c", "value": "1"}),
            METER,
            [],
            Hint("stripe_customer", "stripe_customer_id"),
        ),
        (rejected(NO_CUSTOMER, payload={"value": "1"}), METER, [], None),
        (rejected(NO_VALUE, payload={"valu": "1"}), METER, [], Hint("valu", "value")),
        (rejected(NO_VALUE, payload={"valu": "1"}), None, [], None),
        (
            rejected(NO_DIMENSION, payload={"region": "eu", "teir": "1"}),
            REGIONAL,
            [],
            Hint("teir", "tier"),
        ),
        (rejected("meter_event_invalid_value", payload={"valu": "1"}), METER, [], None),
        (found(), METER, ["calls"], None),
    ],
)
def test_hints(
    one: FoundEvent, measured: Meter | None, known: list[str], clue: Hint | None
) -> None:
    assert hint(one, measured, known) == clue
