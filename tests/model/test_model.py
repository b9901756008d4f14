"""The whole service against a naive model of it: whatever happens, both say the same.

Hypothesis chooses what happens: events, duplicates, cancellations, meters and customers that come
and go, and time that moves on, over the ends of months and the changes of summer time. The process
lives in a time zone with summer time, which must not matter. `METERHOUSE_MODEL_EXAMPLES` makes the
run longer, and different each time.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from meterhouse import limits
from meterhouse.metering.value import print_value
from tests.metering.oracle import Oracle, OracleMeter
from tests.metering.samples import DAY, HOUR, MINUTE, SECOND, values
from tests.model.house import House

EXAMPLES = os.environ.get("METERHOUSE_MODEL_EXAMPLES")
STEPS = 40
COMBINATIONS_MAX = 2
HELD_EXAMPLES = 60

# Instants just before something happens to calendars. They lie ahead of every real present, where
# no rejected event is over its time.
STARTS = [
    int(datetime.fromisoformat(text).timestamp() * 1000)
    for text in (
        "2036-02-28T23:30:00+00:00",  # a leap day
        "2036-03-30T00:30:00+00:00",  # summer time begins in Berlin
        "2036-10-26T00:30:00+00:00",  # and ends
        "2036-11-02T05:30:00+00:00",  # it ends in New York
        "2036-12-31T23:59:59.999+00:00",
    )
]
STRIDES = [1, SECOND, 59 * MINUTE, HOUR, DAY - 1, DAY, DAY + 1, 3 * DAY, 35 * DAY, 35 * DAY + 1]
AGES = [0, 0, 1, 1800, 3600, 7200, 86_400, 3 * 86_400, 35 * 86_400, 35 * 86_400 + 1, -300, -301]
OLD = "2025-03-31.basil"  # knows whole numbers only
REFUSALS = {
    "timestamp_in_future": "The event timestamp cannot be in future.",
    "timestamp_too_far_in_past": "The event timestamp cannot be more than 35 days in past.",
    "no_meter": "No active meter found for event name",
    "duplicate": "An event already exists with identifier",
    "meter_event_value_too_many_digits": "The value in the event payload can have at most 15",
    "not found": "No meter event found with identifier",
    "too old": "The meter event with identifier",
}

names = st.sampled_from(["calls", "tokens", "seats"])
picks = st.integers(0, 11)
windows = st.sampled_from(["hour", "day"])
texts = st.one_of(
    values().map(print_value),
    st.sampled_from(["", "1", "-0", "+7", "007", "many", "1e5", "NaN", ".5", "5."]),
    st.sampled_from(["1" * 16, "0." + "0" * 15 + "1", "1.0", "0" * 90 + "1", "1." + "0" * 90]),
)


class Service(RuleBasedStateMachine):
    """Does everything twice: to the service, in an account of its own, and to the model."""

    house: House

    @initialize(start=st.sampled_from(STARTS))
    def open_books(self, start: int) -> None:
        self.house.clock.set(start)
        self.account = self.house.open_account()
        self.oracle = Oracle(combinations_max=COMBINATIONS_MAX)
        self.customers: list[str] = []
        self.keys = count()
        self.create_customer()

    @rule(
        name=names,
        formula=st.sampled_from(["sum", "count", "last"]),
        event_time_window=st.none() | windows,
        tiers=st.booleans(),
        keys=st.sampled_from([("stripe_customer_id", "value"), ("who", "amount")]),
    )
    def create_meter(
        self,
        name: str,
        formula: str,
        event_time_window: str | None,
        tiers: bool,
        keys: tuple[str, str],
    ) -> None:
        form = {
            "display_name": name,
            "event_name": name,
            "default_aggregation[formula]": formula,
            "customer_mapping[type]": "by_id",
            "customer_mapping[event_payload_key]": keys[0],
            "value_settings[event_payload_key]": keys[1],
        }
        if event_time_window is not None:
            form["event_time_window"] = event_time_window
        if tiers:
            form["dimension_payload_keys[]"] = "tier"
        status, document = self.post("/v1/billing/meters", form)
        dimensions = ("tier",) if tiers else ()
        meter = OracleMeter("", name, formula, event_time_window, *keys, dimensions, active=False)
        if status == 200:
            meter.id = document["id"]
        assert (status == 200) == (self.oracle.activate(meter) == "active")

    @rule()
    def create_customer(self) -> None:
        status, document = self.post("/v1/customers", {})
        assert status == 200
        self.customers.append(document["id"])
        self.oracle.customers.add(document["id"])

    @rule(pick=picks)
    def delete_customer(self, pick: int) -> None:
        """An event and a deletion in one millisecond have no order, so time moves on first."""
        customer = self.customers[pick % len(self.customers)]
        self.house.clock.advance(1)
        status, _ = self.ask("DELETE", f"/v1/customers/{customer}", {})
        assert (status == 200) == (customer in self.oracle.customers)
        self.oracle.customers.discard(customer)

    @precondition(lambda self: self.oracle.meters)
    @rule(pick=picks)
    def deactivate_meter(self, pick: int) -> None:
        meter = self.meter(pick)
        status, _ = self.post(f"/v1/billing/meters/{meter.id}/deactivate", {})
        assert (status == 200) == meter.active
        meter.active = False

    @precondition(lambda self: self.oracle.meters)
    @rule(pick=picks)
    def reactivate_meter(self, pick: int) -> None:
        meter = self.meter(pick)
        status, _ = self.post(f"/v1/billing/meters/{meter.id}/reactivate", {})
        expected = not meter.active and self.oracle.activate(meter) == "active"
        assert (status == 200) == expected

    @rule(stride=st.sampled_from(STRIDES))
    def advance(self, stride: int) -> None:
        self.house.clock.advance(stride)

    @rule(
        name=names,
        identifier=st.sampled_from("abcdefghijklmnopqrstuvwxyz"),
        pick=picks,
        known=st.integers(0, 9),
        text=texts,
        tier=st.sampled_from(["", "x", "y", "z", "z"]),
        age=st.sampled_from(AGES),
        old=st.booleans(),
        keyed=st.booleans(),
    )
    def send(
        self,
        name: str,
        identifier: str,
        pick: int,
        known: int,
        text: str,
        tier: str,
        age: int,
        old: bool,
        keyed: bool,
    ) -> None:
        """Send an event; one in ten names nobody, and one in ten a customer who never was."""
        customer = ["", "cus_nobody"][known] if known < 2 else self.customers[pick % len(self.customers)]
        payload = {"stripe_customer_id": customer, "who": customer, "value": text, "amount": text}
        payload = {key: part for key, part in (payload | {"tier": tier}).items() if part}
        payload["note"] = "so that no payload is empty"
        timestamp = self.now // 1000 - age
        form = {"event_name": name, "identifier": identifier, "timestamp": str(timestamp)}
        form |= {f"payload[{key}]": part for key, part in payload.items()}
        headers = {"stripe_version": OLD} if old else {}
        if keyed:
            headers["idempotency_key"] = f"key-{next(self.keys)}"
        status, document = self.post("/v1/billing/meter_events", form, **headers)
        self.oracle.whole = old
        expected = self.oracle.send(name, identifier, payload, timestamp * 1000, self.now)
        self.check(status, document, expected, "acknowledged")
        if keyed and expected == "acknowledged":
            assert self.post("/v1/billing/meter_events", form, **headers) == (200, document)

    @rule(name=names, identifier=st.sampled_from("abcdefghijklmnopqrstuvwxyz"))
    def cancel(self, name: str, identifier: str) -> None:
        self.cancel_event(name, identifier)

    @precondition(lambda self: self.oracle.events)
    @rule(pick=picks)
    def cancel_one_of_the_last(self, pick: int) -> None:
        events = self.oracle.events[-12:]
        event = events[pick % len(events)]
        self.cancel_event(event.meter.event_name, event.identifier)

    @precondition(lambda self: self.oracle.meters)
    @rule(meter=picks, pick=picks, window=st.none() | windows, back=picks, length=picks)
    def summarize(
        self, meter: int, pick: int, window: str | None, back: int, length: int
    ) -> None:
        """Ask about a range that cuts windows where it may."""
        unit = {None: 37 * MINUTE, "hour": HOUR, "day": DAY}[window]
        align = {None: MINUTE, "hour": HOUR, "day": DAY}[window]
        start = (self.now - back * unit) // align * align
        customer = self.customers[pick % len(self.customers)]
        self.compare(self.meter(meter), customer, start, start + (length + 1) * unit, window)

    def teardown(self) -> None:
        """Compare everything: each customer on each meter in each window, and the tallies."""
        if not hasattr(self, "oracle"):
            return
        end = (self.now // DAY + 2) * DAY
        start = min((event.timestamp for event in self.oracle.events), default=end - DAY) // DAY * DAY
        for meter in self.oracle.meters.values():
            for customer in self.customers:
                for window in (None, "day", "hour"):
                    self.compare(meter, customer, start, end, window)
        outcomes = Counter(event.outcome for event in self.oracle.events)
        told = self.house.tallies(self.account)
        assert told.pop("acknowledged", 0) == outcomes.total()
        assert told == outcomes

    # ---- How it is done ----

    @property
    def now(self) -> int:
        return self.house.clock.now()

    def meter(self, pick: int) -> OracleMeter:
        meters = list(self.oracle.meters.values())
        return meters[pick % len(meters)]

    def cancel_event(self, name: str, identifier: str) -> None:
        form = {"event_name": name, "type": "cancel", "cancel[identifier]": identifier}
        status, document = self.post("/v1/billing/meter_event_adjustments", form)
        self.check(status, document, self.oracle.cancel(name, identifier, self.now), "cancelled")

    def check(self, status: int, document: dict[str, object], expected: str, good: str) -> None:
        """Check an answer against the model's word."""
        assert (status == 200) == (expected == good), (expected, document)
        if status != 200:
            assert status == 400
            error = document["error"]
            assert isinstance(error, dict)
            assert error["message"].startswith(REFUSALS[expected]), expected

    def compare(
        self, meter: OracleMeter, customer: str, start: int, end: int, window: str | None
    ) -> None:
        form = {
            "customer": customer,
            "start_time": str(start // 1000),
            "end_time": str(end // 1000),
            "limit": "100",
        }
        if window is not None:
            form["value_grouping_window"] = window
        status, document = self.ask("GET", f"/v1/billing/meters/{meter.id}/event_summaries", form)
        assert status == 200, document
        assert not document["has_more"]
        told = [
            (one["start_time"] * 1000, one["end_time"] * 1000, Decimal(one["aggregated_value"]))
            for one in document["data"]
        ]
        assert told == self.oracle.summaries(meter.id, customer, start, end, window)

    def post(self, path: str, form: dict[str, str], **headers: str) -> tuple[int, dict[str, Any]]:
        return self.ask("POST", path, form, **headers)

    def ask(
        self, method: str, path: str, form: dict[str, str], **headers: str
    ) -> tuple[int, dict[str, Any]]:
        response, document = self.house.ask(method, path, self.account, form, **headers)
        return response.status_code, document


@pytest.fixture
def house(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    monkeypatch.setattr(limits, "DIMENSION_COMBINATIONS_MAX", COMBINATIONS_MAX)
    opened = House(tmp_path_factory.mktemp("house"))
    yield opened
    opened.stop()
    monkeypatch.undo()
    time.tzset()


def test_the_service_does_what_the_model_does(house: House) -> None:
    class Tested(Service):
        pass

    Tested.house = house
    run_state_machine_as_test(
        Tested,
        settings=settings(
            max_examples=int(EXAMPLES or HELD_EXAMPLES),
            stateful_step_count=STEPS,
            derandomize=EXAMPLES is None,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    state = house.verify()
    assert (state["status"], state["problems"]) == ("balanced", [])
