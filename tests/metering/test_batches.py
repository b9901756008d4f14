"""Batches of any events come to what their events come to one by one."""

from operator import itemgetter
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.columns import Events
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.validation import Catalog, judge
from tests.metering.naive import judge_plainly
from tests.metering.rows import accepted_rows, rejected_rows
from tests.metering.samples import DAY, MINUTE, NOW, event, meter

ELSEWHERE = 2
METERS = (
    meter(),
    meter(id="mtr_count", event_name="visits", formula="count"),
    meter(id="mtr_cut", event_name="tokens", dimension_keys=("model", "region", "é")),
    meter(id="mtr_other", event_name="pages", dimension_keys=("region",), value_key="size"),
    meter(id="mtr_own", event_name="bytes", customer_key="who", value_key="size", formula="last"),
    meter(id="mtr_old", event_name="letters", active=False, deactivated_at=NOW - 1),
    meter(id="mtr_else", scope=ELSEWHERE, dimension_keys=("model",)),
)
CUSTOMERS = {
    **{(scope, "cus_1"): None for scope in (1, ELSEWHERE)},
    (1, "cus_é"): None,
    (1, "cus_gone"): NOW,
    (ELSEWHERE, "cus_going"): NOW + 1,
}
CATALOG = Catalog(
    meters={one.id: one for one in METERS},
    active={(one.scope, one.event_name): one for one in METERS if one.active},
    archived={(one.scope, one.event_name): one for one in METERS if not one.active},
    customers=CUSTOMERS,
)
CLOCKED = msgspec.structs.replace(
    CATALOG, frozen={(1, "cus_1"): NOW - 90 * DAY, (ELSEWHERE, "cus_going"): NOW + 1}
)

names = st.sampled_from([*(one.event_name for one in METERS), "call", "", "\0é"])
customers = st.sampled_from(["cus_1", "cus_2", "cus_é", "cus_gone", "cus_going", "", "\0"])
odd = ["+0", "-0", "007", "", " 1", "1 ", "x", "1e", "1e999", ".5", "5.", "٣", "1_0", "NaN", "1\0"]
long = ["9" * 15, "9" * 16, "0." + "1" * 15, "0." + "1" * 16]
values = st.text(max_size=5) | st.sampled_from(["1", "-2.5", "1.0", "1e5", "1E-7", *odd, *long])
dimensions = st.sampled_from(["small", "large", "", "\0", "é" * 3])
payloads = st.fixed_dictionaries(
    {},
    optional={
        "stripe_customer_id": customers,
        "who": customers,
        "value": values,
        "size": values,
        "model": dimensions,
        "region": dimensions,
        "é": dimensions,
        "": values,
    },
)
bounds = [0, 35 * DAY, -5 * MINUTE, 90 * DAY, 125 * DAY]
instants = st.builds(
    lambda bound, more: NOW - bound + more, st.sampled_from(bounds), st.integers(-2, 2)
)


@st.composite
def events(draw: st.DrawFn) -> MeterEvent:
    checked = draw(st.none() | st.sampled_from(METERS))
    changes: dict[str, Any] = {"event_name": draw(names), "scope": draw(st.sampled_from([1, 2, 3]))}
    if checked is not None:
        changes = {"event_name": checked.event_name, "scope": checked.scope, "meter": checked.id}
    return event(
        **changes,
        identifier=draw(st.sampled_from(["a", "b", "é\0", "x" * 100])),
        payload=draw(payloads),
        timestamp=draw(instants),
        received_at=NOW + draw(st.sampled_from([0, 0, 1, 1_500])),
        whole=draw(st.booleans()),
        resend_of=draw(st.none() | st.integers(1, 9)),
        timed_by=draw(st.sampled_from(["clock", "receipt", "sender"])),
    )


batches = st.lists(events(), max_size=12)


@given(batches, st.sampled_from([CATALOG, CLOCKED]))
def test_a_batch_comes_to_what_its_events_come_to(sent: list[MeterEvent], catalog: Catalog) -> None:
    positions = range(10, 10 + 3 * len(sent), 3)
    accepted, rejected = judge(Events.of(positions, sent), catalog)
    found = [*accepted_rows(accepted), *rejected_rows(rejected)]
    assert sorted(found, key=itemgetter(0)) == [
        judge_plainly(position, one, catalog) for position, one in zip(positions, sent, strict=True)
    ]
