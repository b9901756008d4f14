"""How pages show things: exact numbers, instants, names that are too long.

Nothing is rounded. A number is grouped by threes and keeps all of its decimals.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from markupsafe import Markup

from meterhouse.billing.money import print_money

_MINUS = "\N{MINUS SIGN}"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400

# What the codes mean, in a few words; the sentence of an event says it in full.
CODE_NAMES: Mapping[str, str] = {
    "archived_meter": "Meter is deactivated",
    "meter_event_customer_not_found": "Unknown customer",
    "meter_event_dimension_count_too_high": "Too many combinations of dimensions",
    "meter_event_invalid_value": "Value is no number",
    "meter_event_no_customer_defined": "No customer in the payload",
    "meter_event_value_not_found": "No value in the payload",
    "meter_event_value_too_many_digits": "Value has too many digits",
    "missing_dimension_payload_keys": "A dimension is missing",
    "no_meter": "No meter with this event name",
    "timestamp_in_future": "Timestamp in the future",
    "timestamp_too_far_in_past": "Timestamp too old",
}


def number(value: Decimal | float | str | None) -> str:
    """Print an exact number: 1234567.5 is `1,234,567.5`."""
    if value is None:
        return "\N{EM DASH}"
    text = f"{Decimal(str(value)):f}"
    whole, point, decimals = text.lstrip("-").partition(".")
    decimals = decimals.rstrip("0")
    sign = _MINUS if text.startswith("-") else ""
    return f"{sign}{int(whole):,}{point if decimals else ''}{decimals}"


def money(amount: Decimal | int | str | None, currency: str) -> str:
    """Print an amount in minor units, exactly: 123456 is `$1,234.56`."""
    if amount is None:
        return "\N{EM DASH}"
    text = print_money(Decimal(amount), currency).replace("-", _MINUS)
    return re.sub(r"\d+", lambda found: f"{int(found[0]):,}", text, count=1)


def instant(seconds: float | str | None, zone: tzinfo = UTC) -> Markup:
    """Print an instant in unix seconds as a `<time>`."""
    if seconds is None:
        return Markup("\N{EM DASH}")
    at = datetime.fromtimestamp(int(float(seconds)), zone)
    iso, text = at.isoformat(), at.strftime("%d %b %Y, %H:%M:%S")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, iso, text)


def day(seconds: float | str) -> str:
    """Print the day of an instant, in UTC: `1 Dec 2026`."""
    return datetime.fromtimestamp(int(float(seconds)), UTC).strftime("%-d %b %Y")


def clock(seconds: float | str) -> str:
    """Print the time of day of an instant, in UTC."""
    return datetime.fromtimestamp(int(float(seconds)), UTC).strftime("%H:%M:%S")


def ago(seconds: float | None, now: int) -> str:
    """Tell how long ago an instant was; both are unix seconds."""
    if seconds is None:
        return "never"
    passed = max(0, now - int(seconds))
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if passed >= size:
            return f"{passed // size} {unit} ago"
    return f"{passed} s ago"


def code_name(code: str) -> str:
    """Say what a rejection code means."""
    return CODE_NAMES.get(code, code.replace("_", " ").capitalize())


FILTERS: Mapping[str, Any] = {
    "ago": ago,
    "clock": clock,
    "code_name": code_name,
    "day": day,
    "instant": instant,
    "money": money,
    "number": number,
}
