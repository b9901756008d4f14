"""A naive model of the whole service's metering: one list of events, loops and a calendar.

It shares no code with Meterhouse. It is for the books of one account in one mode; instants are
milliseconds since the epoch. Operations answer with a word, so that a state machine can compare
every step and not only the totals.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext
from functools import lru_cache

from meterhouse import zones

TOO_MANY_DIGITS = "meter_event_value_too_many_digits"


@dataclass(eq=False)
class OracleMeter:
    id: str
    event_name: str
    formula: str = "sum"
    event_time_window: str | None = None
    customer_key: str = "stripe_customer_id"
    value_key: str = "value"
    dimension_keys: tuple[str, ...] = ()
    active: bool = True


@dataclass(eq=False)
class OracleEvent:
    meter: OracleMeter
    identifier: str
    payload: dict[str, str]
    timestamp: int
    received_at: int
    outcome: str = ""
    value: Decimal = Decimal(1)
    cancelled: bool = False


@dataclass
class Oracle:
    whole: bool = False
    deduplication_days: int = 35
    combinations_max: int = 10_000
    meters: dict[str, OracleMeter] = field(default_factory=dict)
    customers: set[str] = field(default_factory=set)
    events: list[OracleEvent] = field(default_factory=list)  # as they were received

    def activate(self, meter: OracleMeter) -> str:
        """Create a meter, or reactivate it."""
        if any(m.active and m.event_name == meter.event_name for m in self.meters.values()):
            return "name taken"
        self.meters[meter.id], meter.active = meter, True
        return "active"

    def send(self, name: str, identifier: str, payload: dict[str, str], at: int, now: int) -> str:
        """Send a v1 event of timestamp `at`: "acknowledged", and judged, or why it is refused."""
        if not now - 35 * 86_400_000 <= at <= now + 5 * 60_000:
            return "timestamp_in_future" if at > now else "timestamp_too_far_in_past"
        named = [m for m in self.meters.values() if m.active and m.event_name == name]
        if not named:
            return "no_meter"
        text = payload.get(named[0].value_key, "")
        if named[0].formula != "count" and not self.whole and read(text) == TOO_MANY_DIGITS:
            return TOO_MANY_DIGITS
        if self._find(identifier, opening(now, "day") - self.deduplication_days * 86_400_000):
            return "duplicate"
        event = OracleEvent(named[0], identifier, payload, at, now)
        event.outcome = self._judge(event)
        self.events.append(event)
        return "acknowledged"

    def cancel(self, event_name: str, identifier: str, now: int) -> str:
        """Cancel an event; a second time changes nothing."""
        event = self._find(identifier, 0)
        if event is None or event.outcome != "accepted" or event.meter.event_name != event_name:
            return "not found"
        if not event.cancelled and now - event.received_at > 24 * 3_600_000:
            return "too old"
        event.cancelled = True
        return "cancelled"

    def summaries(
        self, meter_id: str, customer: str, start: int, end: int, window: str | None = None
    ) -> list[tuple[int, int, Decimal]]:
        """Return (start, end, value): one point in all, or one a window, the newest first."""
        meter = self.meters[meter_id]
        live = [e for e in self._accepted(meter, customer) if not e.cancelled]
        if meter.event_time_window is not None:
            live = list({opening(e.timestamp, meter.event_time_window): e for e in live}.values())
        live = [e for e in live if start <= e.timestamp < end]
        if window is None:
            return [(start, end, total(meter, live))]
        length = 86_400_000 if window == "day" else 3_600_000
        starts = sorted({opening(e.timestamp, window) for e in live}, reverse=True)
        cut = [(s, [e for e in live if opening(e.timestamp, window) == s]) for s in starts]
        return [(s, s + length, total(meter, inside)) for s, inside in cut]

    def usage(
        self,
        meter_id: str,
        customer: str,
        start: int,
        end: int,
        window: str | None = None,
        zone: str = "UTC",
        keys: tuple[str, ...] = (),
        filters: tuple[tuple[str, tuple[str, ...]], ...] = (),
        grain: int = 15 * 60_000,
    ) -> list[tuple[int, int, tuple[str, ...], Decimal]]:
        """Return (start, end, values under the keys, value), in that order."""
        meter = self.meters[meter_id]
        live = [e for e in self._accepted(meter, customer) if not e.cancelled]
        if meter.event_time_window is not None:
            live = list({opening(e.timestamp, meter.event_time_window): e for e in live}.values())
        cut: dict[tuple[int, int, tuple[str, ...]], list[OracleEvent]] = {}
        for event in live:
            at = event.timestamp // grain * grain
            if not start <= at < end:
                continue
            if any(event.payload.get(key, "") not in values for key, values in filters):
                continue
            first, after = (start, end) if window is None else zoned(at, window, zone)
            group = tuple(event.payload.get(key, "") for key in keys)
            cut.setdefault((max(first, start), min(after, end), group), []).append(event)
        if not cut and not keys and window is None:
            return [(start, end, (), Decimal(0))]
        return [(*row, total(meter, events)) for row, events in sorted(cut.items())]

    def _find(self, identifier: str, since: int) -> OracleEvent | None:
        same = [e for e in self.events if e.identifier == identifier and e.received_at >= since]
        return same[-1] if same else None

    def _accepted(self, meter: OracleMeter, customer: str) -> list[OracleEvent]:
        events = [e for e in self.events if e.outcome == "accepted" and e.meter is meter]
        return [e for e in events if e.payload[meter.customer_key] == customer]

    def _judge(self, event: OracleEvent) -> str:
        meter, payload = event.meter, event.payload
        customer = payload.get(meter.customer_key, "")
        if not customer:
            return "meter_event_no_customer_defined"
        if customer not in self.customers:
            return "meter_event_customer_not_found"
        text = payload.get(meter.value_key, "")
        value = read(text, whole=self.whole) if text else "meter_event_value_not_found"
        if isinstance(value, Decimal):
            event.value = value
        elif meter.formula != "count":
            return value
        combination = tuple(payload.get(key, "") for key in meter.dimension_keys)
        if "" in combination:
            return "missing_dimension_payload_keys"
        others = [other.payload for other in self._accepted(meter, customer)]
        known = {tuple(other[key] for key in meter.dimension_keys) for other in others}
        full = len(known) >= self.combinations_max and combination not in known
        return "meter_event_dimension_count_too_high" if full else "accepted"


@lru_cache(100_000)
def opening(instant: int, size: str) -> int:
    """Return the start of the UTC hour or day."""
    moment = datetime.fromtimestamp(instant // 1_000, UTC)
    hour = 0 if size == "day" else moment.hour
    return int(moment.replace(hour=hour, minute=0, second=0).timestamp()) * 1_000


def zoned(instant: int, size: str, zone: str) -> tuple[int, int]:
    """Return the window of a zone that holds an instant, found by looking at its clock."""
    second, clock = instant // 1_000, zones.zone(zone)
    if size == "hour":
        first = second - second % 60
        while datetime.fromtimestamp(first, clock).minute:
            first -= 60
        after = first + 60
        while datetime.fromtimestamp(after, clock).minute:
            after += 60
        return first * 1_000, after * 1_000
    day = datetime.fromtimestamp(second, clock).date()
    day = {"day": day, "week": day - timedelta(day.weekday()), "month": day.replace(day=1)}[size]
    while True:
        later = day + timedelta({"day": 1, "week": 7, "month": 31}[size])
        later = later.replace(day=1) if size == "month" else later
        if second < first_minute(later, zone):
            return first_minute(day, zone) * 1_000, first_minute(later, zone) * 1_000
        day = later


@lru_cache(10_000)
def first_minute(day: date, zone: str) -> int:
    """Return the first minute in which a clock shows the day or a later one, as unix seconds."""
    clock = zones.zone(zone)
    minute = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - 26 * 3_600
    while datetime.fromtimestamp(minute, clock).date() < day:
        minute += 60
    return minute


def read(text: str, *, whole: bool = False) -> Decimal | str:
    """Return the number, or the code of what is wrong with it."""
    if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text):
        return "meter_event_invalid_value"
    with localcontext(prec=1_000, Emax=MAX_EMAX, Emin=MIN_EMIN):
        _, digits, exponent = Decimal(text).normalize().as_tuple()
    if whole and (int(exponent) < 0 or re.fullmatch(r"[^eE]*\.[^eE]*", text)):
        return "meter_event_invalid_value"
    if len(digits) + max(int(exponent), 0) > 15 or int(exponent) < -15:
        return TOO_MANY_DIGITS
    return Decimal(text)


def total(meter: OracleMeter, events: list[OracleEvent]) -> Decimal:
    """Apply the formula to events in the order in which they were received."""
    if meter.formula == "count":
        return Decimal(len(events))
    if meter.formula == "last":
        return max(reversed(events), key=lambda e: e.timestamp).value if events else Decimal(0)
    with localcontext(prec=1_000):
        return sum((e.value for e in events), Decimal(0))
