"""The search for raw events: the question, what it finds, and what a wrong name was meant to be.

An event that was not accepted names its meter and customer only as its sender wrote them; `filled`
reads them from the payload, as judging does.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Literal, NamedTuple

import msgspec

from meterhouse.metering.model import Meter, MeterEvent, Scope
from meterhouse.metering.validation import Catalog
from meterhouse.metering.value import read_value

Outcome = Literal["accepted", "duplicate", "pending", "rejected"]
Bounds = tuple[int | None, int | None]  # a half-open window of milliseconds; None is open

DEFAULT_CUSTOMER_KEY = "stripe_customer_id"


class EventSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Which events of one account and mode to find; what is None leaves nothing out.

    `customer_keys` are all payload keys under which the meters of the account find a customer. An
    event that was rejected is of `customer` where one of them names it.
    """

    scope: Scope
    meter: str | None = None
    event_name: str | None = None
    customer: str | None = None
    customer_keys: tuple[str, ...] = (DEFAULT_CUSTOMER_KEY,)
    identifiers: tuple[str, ...] | None = None
    positions: tuple[int, ...] | None = None
    outcome: Outcome | None = None
    code: str | None = None
    received: Bounds = (None, None)
    timestamp: Bounds = (None, None)

    @property
    def named(self) -> bool:
        """Whether the events themselves are named, so that few are looked for."""
        return self.identifiers is not None or self.positions is not None

    def wants(self, event: "FoundEvent") -> bool:
        """Tell whether the search is for an event."""
        return (
            self.meter in (None, event.meter)
            and self.event_name in (None, event.event_name)
            and self.customer in (None, event.customer)
            and (self.identifiers is None or event.identifier in self.identifiers)
            and (self.positions is None or event.position in self.positions)
            and self.outcome in (None, event.outcome)
            and self.code in (None, event.code)
            and _within(event.received_at, self.received)
            and _within(event.timestamp, self.timestamp)
        )


class FoundEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event and what became of it.

    `meter` and `customer` are empty where none is known, `code` and `message` unless the event was
    rejected. `value` is None where the payload has none that counts.
    """

    position: int
    outcome: Outcome
    meter: str
    customer: str
    event_name: str
    identifier: str
    timestamp: int
    received_at: int
    value: Decimal | None
    payload: dict[str, str]
    code: str = ""
    message: str = ""


class Hint(NamedTuple):
    """A name that an event was sent with, and the known one that was probably meant."""

    sent: str
    meant: str


def pending(position: int, event: MeterEvent, catalog: Catalog) -> FoundEvent:
    """Describe an event that is acknowledged and not judged yet."""
    meter = catalog.meter_of(event.scope, event.event_name, event.meter)
    found = FoundEvent(
        position=position,
        outcome="pending",
        meter=meter.id if meter else "",
        customer="",
        event_name=event.event_name,
        identifier=event.identifier,
        timestamp=event.timestamp,
        received_at=event.received_at,
        value=None,
        payload=event.payload,
    )
    return filled(found, meter)


def filled(event: FoundEvent, meter: Meter | None) -> FoundEvent:
    """Return an event with the customer and the value that its payload has for its meter."""
    if event.outcome in ("accepted", "duplicate"):
        return event
    if meter is None:
        customer = event.payload.get(DEFAULT_CUSTOMER_KEY, "")
        return msgspec.structs.replace(event, customer=customer)
    text = event.payload.get(meter.value_key)
    value = read_value(text, whole=False) if text else None
    return msgspec.structs.replace(
        event,
        customer=event.payload.get(meter.customer_key, ""),
        value=value if isinstance(value, Decimal) else None,
    )


def hint(event: FoundEvent, meter: Meter | None, known: Iterable[str]) -> Hint | None:
    """Return what was probably meant where a rejected event has a name that is close to another.

    `known` are event names where the code is `no_meter`, customers where it is
    `meter_event_customer_not_found`. Where a payload key is missing, the payload's own are looked
    through.
    """
    if event.code == "no_meter":
        return _closest(event.event_name, known)
    if event.code == "meter_event_customer_not_found":
        return _closest(event.customer, known)
    if meter is None:
        return None
    wanted: Mapping[str, tuple[str, ...]] = {
        "meter_event_no_customer_defined": (meter.customer_key,),
        "meter_event_value_not_found": (meter.value_key,),
        "missing_dimension_payload_keys": meter.dimension_keys or (),
    }
    used = {meter.customer_key, meter.value_key, *(meter.dimension_keys or ())}
    spare = [key for key in event.payload if key not in used]
    for key in wanted.get(event.code, ()):
        close = None if event.payload.get(key) else _closest(key, spare)
        if close is not None:
            return Hint(sent=close.meant, meant=key)
    return None


def _closest(name: str, known: Iterable[str]) -> Hint | None:
    by_folded = {one.strip().casefold(): one for one in known if one != name}
    close = get_close_matches(name.strip().casefold(), by_folded, n=1, cutoff=0.7)
    return Hint(name, by_folded[close[0]]) if close else None


def _within(instant: int, bounds: Bounds) -> bool:
    start, end = bounds
    return (start is None or start <= instant) and (end is None or instant < end)
