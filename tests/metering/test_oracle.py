from decimal import Decimal

from tests.metering.oracle import Oracle, OracleMeter
from tests.metering.samples import DAY, HOUR, MINUTE, NOW


def test_a_day_in_the_books() -> None:
    oracle = Oracle(customers={"cus_1"}, combinations_max=1)
    calls = OracleMeter("mtr_1", "calls", event_time_window="hour", dimension_keys=("tier",))

    def send(identifier: str, value: str, at: int = NOW, now: int = NOW, tier: str = "a") -> str:
        payload = {"stripe_customer_id": "cus_1", "value": value, "tier": tier}
        return oracle.send("calls", identifier, payload, at, now)

    free = NOW // DAY * DAY + 36 * DAY  # when the day is over that lies 35 days after today

    def total() -> Decimal:
        [(_, _, value)] = oracle.summaries("mtr_1", "cus_1", NOW - DAY, NOW + DAY)
        return value

    assert send("a", "1") == "no_meter"
    assert oracle.activate(calls) == "active"
    assert oracle.activate(OracleMeter("mtr_2", "calls")) == "name taken"
    assert send("a", "1", at=NOW - 36 * DAY) == "timestamp_too_far_in_past"
    assert send("a", "1", at=NOW + 6 * MINUTE) == "timestamp_in_future"
    assert send("a", "1") == "acknowledged"
    assert send("a", "1") == "duplicate"
    assert send("b", "2.5", at=NOW + MINUTE) == "acknowledged"
    assert send("c", "4", tier="b") == "acknowledged"
    assert send("d", "8", at=NOW - HOUR) == "acknowledged"
    assert [event.outcome for event in oracle.events] == [
        "accepted",
        "accepted",
        "meter_event_dimension_count_too_high",
        "accepted",
    ]
    assert total() == Decimal("10.5")
    assert oracle.cancel("calls", "z", NOW) == "not found"
    assert oracle.cancel("visits", "b", NOW) == "not found"
    assert oracle.cancel("calls", "b", NOW + DAY) == "cancelled"
    assert oracle.cancel("calls", "b", NOW + DAY + 1) == "cancelled"
    assert oracle.cancel("calls", "a", NOW + DAY + 1) == "too old"
    assert total() == Decimal(9)
    assert send("b", "16", at=NOW + DAY, now=NOW + DAY) == "duplicate"
    assert send("b", "16", at=free - 1, now=free - 1) == "duplicate"
    assert send("b", "16", at=free, now=free) == "acknowledged"
    hours = oracle.summaries("mtr_1", "cus_1", NOW - DAY, NOW + DAY, "hour")
    assert hours == [(NOW, NOW + HOUR, Decimal(1)), (NOW - HOUR, NOW, Decimal(8))]
    calls.active = False
    assert oracle.activate(OracleMeter("mtr_2", "calls")) == "active"
