"""Samples that the tests of this room share: a day, a meter, an event."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from meterhouse.metering.aggregation import Use
from meterhouse.metering.model import Meter, MeterEvent, Scope

SCOPE = Scope(1, "acct_1", livemode=False)
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


def at(text: str) -> int:
    """Read `3 10:05`, the instant 10:05 UTC on 3 November 2026, or `3 10:05:30.250`."""
    day, _, time = text.partition(" ")
    moment = datetime.fromisoformat(f"2026-11-{int(day):02}T{time or '00:00'}").replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


NOW = at("20 12:00")

METER = Meter(
    id="mtr_1",
    scope=SCOPE.id,
    event_name="calls",
    display_name="Calls",
    formula="sum",
    event_time_window=None,
    customer_key="stripe_customer_id",
    value_key="value",
    dimension_keys=None,
    active=True,
    created=0,
    updated=0,
    deactivated_at=None,
)
EVENT = MeterEvent(
    scope=SCOPE.id,
    identifier="event-1",
    event_name="calls",
    timestamp=NOW,
    received_at=NOW,
    payload={"stripe_customer_id": "cus_1", "value": "25"},
    meter=None,
    whole=False,
)


def meter(**changes: Any) -> Meter:
    return msgspec.structs.replace(METER, **changes)


def event(**changes: Any) -> MeterEvent:
    return msgspec.structs.replace(EVENT, **changes)


def values() -> st.SearchStrategy[Decimal]:
    """All usage values: at most 15 digits, of which 0 to 15 are decimals."""
    return st.builds(
        lambda digits, decimals: Decimal(digits).scaleb(-decimals),
        st.integers(-(10**15 - 1), 10**15 - 1),
        st.integers(0, 15),
    )


def ledgers(*, days: int = 2) -> st.SearchStrategy[list[Use]]:
    """Uses within some days from 3 November 2026, several at one instant, in any order."""
    instants = st.integers(0, days * 48 - 1).map(lambda step: at("3") + step * 30 * MINUTE)
    pairs = st.lists(st.tuples(instants, values()), max_size=25)
    return pairs.flatmap(
        lambda rows: st.permutations(
            [(instant, position, value) for position, (instant, value) in enumerate(rows)]
        )
    )
