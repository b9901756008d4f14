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
from typing import Any, NamedTuple

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
from tests.metering.oracle import Oracle, OracleEvent, OracleMeter
from tests.metering.samples import DAY, HOUR, MINUTE, SECOND, values
from tests.model.local import LocalServer

EXAMPLES = os.environ.get("METERHOUSE_MODEL_EXAMPLES")
STEPS = 40
COMBINATIONS_MAX = 2
HELD_EXAMPLES = 30

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
STRIDES = [1, SECOND, 59 * MINUTE, HOUR, DAY - 1, DAY, DAY + 1, 3 * DAY, 35 * DAY, 36 * DAY]
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


class Shape(NamedTuple):
    """What a meter is like."""

    formula: str
    event_time_window: str | None
    tiers: bool
    keys: tuple[str, str]  # of the customer and of the value


class Sent(NamedTuple):
    """What an event is like; `age` is how old it is in seconds, `old` the version of its sender."""

    name: str
    identifier: str
    pick: int
    known: str | None
    text: str
    tier: str
    age: int
    old: bool
    keyed: bool


NAMES = ("calls", "tokens", "seats")
names = st.sampled_from(NAMES)
identifiers = st.sampled_from("abcdefghijklmnopqrstuvwxyz")
picks = st.integers(0, 11)
windows = st.sampled_from(["hour", "day"])
numbers = values().map(print_value)
shapes = st.builds(
    Shape,
    st.sampled_from(["sum", "count", "last"]),
    st.none() | windows,
    st.booleans(),
    st.sampled_from([("stripe_customer_id", "value"), ("who", "amount")]),
)
sent_events = st.builds(
    Sent,
    names,
    identifiers,
    picks,
    st.sampled_from([None] * 10 + ["", "cus_nobody"]),
    st.one_of(
        numbers,
        numbers,
        st.sampled_from(["1", "-0", "+7", "007", "1.0", "0" * 90 + "1", "1." + "0" * 90]),
        st.sampled_from(["1e5", "2.5E-06", "1e-15", "1500e-2", "1" + "0" * 90 + "e-90", "-0e9"]),
        st.sampled_from(["", "many", "1e", "NaN", ".5", "5.", "1" * 16, "1e15", "1e-16"]),
    ),
    st.sampled_from(["x", "x", "x", "y", "y", "z", ""]),
    st.sampled_from(AGES),
    st.sampled_from([False, False, False, True]),
    st.booleans(),
)


class Service(RuleBasedStateMachine):
    """Does everything twice: to the service, in an account of its own, and to the model."""

    local: LocalServer

    @initialize(start=st.sampled_from(STARTS), of=st.tuples(shapes, shapes, shapes))
    def open_books(self, start: int, of: tuple[Shape, ...]) -> None:
        self.local.move_to(start)
        self.account = self.local.open_account()
        self.oracle = Oracle(combinations_max=COMBINATIONS_MAX)
        self.customers: list[str] = []
        self.keys = count()
        for name, shape in zip(NAMES, of, strict=True):
            self.create_customer()
            self.create_meter(name, shape)

    @rule(
        what=st.sampled_from(["create", "activate", "activate", "deactivate", "come", "go"]),
        pick=picks,
        shape=shapes,
    )
    def change(self, what: str, pick: int, shape: Shape) -> None:
        """Let a meter or a customer come or go."""
        match what:
            case "create":
                self.create_meter(NAMES[pick % len(NAMES)], shape)
            case "activate":
                self.reactivate_meter(self.meter(pick))
            case "deactivate":
                self.deactivate_meter(self.meter(pick))
            case "come":
                self.create_customer()
            case "go":
                self.delete_customer(self.customer(pick))

    @rule(stride=st.sampled_from(STRIDES))
    def advance(self, stride: int) -> None:
        self.local.move_to(self.local.clock.now() + stride)

    @rule(events=st.lists(sent_events, min_size=2, max_size=6))
    def send(self, events: list[Sent]) -> None:
        for event in events:
            self.send_one(event)

    @precondition(lambda self: self.oracle.events)
    @rule(pick=picks, customer=picks)
    def send_again(self, pick: int, customer: int) -> None:
        """Send an event with the identifier of one of the last: a duplicate, unless time passed."""
        event = self.one_of_the_last(pick)
        name = event.meter.event_name
        self.send_one(Sent(name, event.identifier, customer, None, "1", "x", 0, False, False))

    @rule(name=names, identifier=identifiers)
    def cancel(self, name: str, identifier: str) -> None:
        self.cancel_event(name, identifier)

    @precondition(lambda self: self.oracle.events)
    @rule(pick=picks)
    def cancel_one_of_the_last(self, pick: int) -> None:
        event = self.one_of_the_last(pick)
        self.cancel_event(event.meter.event_name, event.identifier)

    @rule(meter=picks, pick=picks, window=st.none() | windows, back=picks, length=picks)
    def summarize(self, meter: int, pick: int, window: str | None, back: int, length: int) -> None:
        """Ask about a range that cuts windows where it may."""
        unit = {None: 37 * MINUTE, "hour": HOUR, "day": DAY}[window]
        align = {None: MINUTE, "hour": HOUR, "day": DAY}[window]
        start = (self.now - back * unit) // align * align
        self.compare(
            self.meter(meter), self.customer(pick), start, start + (length + 1) * unit, window
        )

    def teardown(self) -> None:
        """Compare everybody's usage in each kind of window, and the tallies."""
        if not hasattr(self, "oracle"):
            return
        events = [event for event in self.oracle.events if event.outcome == "accepted"]
        used = {(event.meter, event.payload[event.meter.customer_key]) for event in events}
        start = min((event.timestamp for event in events), default=0) // DAY * DAY
        for meter, customer in used:
            for window in (None, "day", "hour"):
                self.compare(meter, customer, start, self.now // DAY * DAY + 2 * DAY, window)
        outcomes = Counter(event.outcome for event in self.oracle.events)
        told = self.local.tallies(self.account)
        assert told.pop("acknowledged", 0) == outcomes.total()
        assert told == outcomes

    # ---- How it is done ----

    @property
    def now(self) -> int:
        return self.local.clock.now()

    def meter(self, pick: int) -> OracleMeter:
        meters = list(self.oracle.meters.values())
        return meters[pick % len(meters)]

    def one_of_the_last(self, pick: int) -> OracleEvent:
        events = self.oracle.events[-12:]
        return events[-1 - pick % len(events)]

    def customer(self, pick: int) -> str:
        return self.customers[pick % len(self.customers)]

    def create_meter(self, name: str, shape: Shape) -> None:
        form = {
            "display_name": name,
            "event_name": name,
            "default_aggregation[formula]": shape.formula,
            "customer_mapping[type]": "by_id",
            "customer_mapping[event_payload_key]": shape.keys[0],
            "value_settings[event_payload_key]": shape.keys[1],
        }
        if shape.event_time_window is not None:
            form["event_time_window"] = shape.event_time_window
        if shape.tiers:
            form["dimension_payload_keys[]"] = "tier"
        status, document = self.post("/v1/billing/meters", form)
        dimensions = ("tier",) if shape.tiers else ()
        meter = OracleMeter(
            document.get("id", ""),
            name,
            shape.formula,
            shape.event_time_window,
            *shape.keys,
            dimensions,
            active=False,
        )
        assert (status == 200) == (self.oracle.activate(meter) == "active")

    def deactivate_meter(self, meter: OracleMeter) -> None:
        status, _ = self.post(f"/v1/billing/meters/{meter.id}/deactivate", {})
        assert status == 200
        meter.active = False

    def reactivate_meter(self, meter: OracleMeter) -> None:
        status, _ = self.post(f"/v1/billing/meters/{meter.id}/reactivate", {})
        expected = meter.active or self.oracle.activate(meter) == "active"
        assert (status == 200) == expected

    def create_customer(self) -> None:
        status, document = self.post("/v1/customers", {})
        assert status == 200
        self.customers.append(document["id"])
        self.oracle.customers.add(document["id"])

    def delete_customer(self, customer: str) -> None:
        """Delete a customer; for an event of the same millisecond there is no order."""
        self.local.clock.advance(1)
        status, _ = self.ask("DELETE", f"/v1/customers/{customer}", {})
        assert (status == 200) == (customer in self.oracle.customers)
        self.oracle.customers.discard(customer)

    def send_one(self, event: Sent) -> None:
        """Send an event; with an idempotency key, send it twice."""
        customer = self.customer(event.pick) if event.known is None else event.known
        payload = {
            "stripe_customer_id": customer,
            "who": customer,
            "value": event.text,
            "amount": event.text,
            "tier": event.tier,
            "note": "so that no payload is empty",
        }
        payload = {key: text for key, text in payload.items() if text}
        timestamp = self.now // 1000 - event.age
        form = {"event_name": event.name, "identifier": event.identifier}
        form |= {f"payload[{key}]": text for key, text in payload.items()}
        form["timestamp"] = str(timestamp)
        headers = {"stripe_version": OLD} if event.old else {}
        if event.keyed:
            headers["idempotency_key"] = f"key-{next(self.keys)}"
        status, document = self.post("/v1/billing/meter_events", form, **headers)
        self.oracle.whole = event.old
        at = timestamp * 1000
        expected = self.oracle.send(event.name, event.identifier, payload, at, self.now)
        self.check(status, document, expected, "acknowledged")
        if event.keyed and expected == "acknowledged":
            assert self.post("/v1/billing/meter_events", form, **headers) == (200, document)

    def cancel_event(self, name: str, identifier: str) -> None:
        form = {"event_name": name, "type": "cancel", "cancel[identifier]": identifier}
        status, document = self.post("/v1/billing/meter_event_adjustments", form)
        expected = self.oracle.cancel(name, identifier, self.now)
        forgettable = (self.now // DAY - self.oracle.deduplication_days) * DAY
        if any(
            e.identifier == identifier and e.received_at >= forgettable for e in self.oracle.events
        ):
            self.check(status, document, expected, "cancelled")
        else:  # the identifier may be remembered or not; the event stays as it is
            assert status == 400 or expected == "cancelled"

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
        response, document = self.local.ask(method, path, self.account, form, **headers)
        return response.status_code, document


@pytest.fixture
def local(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalServer]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    monkeypatch.setattr(limits, "DIMENSION_COMBINATIONS_MAX", COMBINATIONS_MAX)
    # Sweeps come by the real clock; between them an identifier is remembered beyond its time.
    monkeypatch.setattr(limits, "RETAIN_INTERVAL_SECONDS", 86_400)
    opened = LocalServer(tmp_path_factory.mktemp("local"))
    yield opened
    opened.stop()
    monkeypatch.undo()
    time.tzset()


def test_the_service_does_what_the_model_does(local: LocalServer) -> None:
    class Tested(Service):
        pass

    Tested.local = local
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
    state = local.verify()
    assert (state["status"], state["problems"]) == ("balanced", [])
