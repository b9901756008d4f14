"""Instants as API v2 spells them: RFC 3339 in answers; in requests also unix seconds.

Official SDKs send a date object as unix seconds, Python's as a number and Node's as a string. Every
instant is kept in milliseconds; what is finer is cut off.
"""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache

from meterhouse.limits import REQUEST_TIMESTAMP_SECONDS_MAX, TIMESTAMP_MINUTES_CACHED_MAX

_RFC_3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,30}))?"
    r"(?:[Zz]|([+-])(\d{2}):(\d{2}))",
    re.ASCII,
)
_UNIX_SECONDS = re.compile(r"\d{1,11}(?:\.\d{1,30})?", re.ASCII)
_MILLISECONDS_MAX = REQUEST_TIMESTAMP_SECONDS_MAX * 1000 + 999
_UNIX_EPOCH = date(1970, 1, 1).toordinal()
_HOURS, _MINUTES, _SECONDS = 23, 59, 60  # the last of each; RFC 3339 has leap seconds

# The usual spelling, `2024-06-01T12:00:00.000Z`, is read in three pieces that are looked up.
_USUAL_CHARS = 24
_MINUTE_CHARS = 17
_SECOND_CHARS = 19
_SECOND = {f"{second:02}": second * 1000 for second in range(60)}
_FRACTION = {f".{milliseconds:03}Z": milliseconds for milliseconds in range(1000)}


def read_timestamp(value: str | float) -> int:
    """Return the instant of `value` in milliseconds since the epoch.

    Raises `ValueError`, whose text says what a timestamp must be, when it is none from 1970 to
    2299.
    """
    if isinstance(value, str) and len(value) == _USUAL_CHARS:
        try:
            seconds = _SECOND[value[_MINUTE_CHARS:_SECOND_CHARS]]
            return _minute(value[:_MINUTE_CHARS]) + seconds + _FRACTION[value[_SECOND_CHARS:]]
        except KeyError:
            pass
    instant = _read_text(value) if isinstance(value, str) else _in_milliseconds(value)
    if not 0 <= instant <= _MILLISECONDS_MAX:
        raise ValueError("must be from 1970 to 2299")
    return instant


def print_timestamp(instant: int) -> str:
    """Return an instant as `2024-06-01T12:00:00.000Z`."""
    seconds, milliseconds = divmod(instant, 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z"


@lru_cache(TIMESTAMP_MINUTES_CACHED_MAX)
def _minute(text: str) -> int:
    """Return the instant at which the minute `2024-06-01T12:00:` begins."""
    return read_timestamp(f"{text}00Z")


def _in_milliseconds(seconds: float) -> int:
    if isinstance(seconds, int):
        return seconds * 1000
    # A float is compared first, because one that is too great cannot be made an integer. It stands
    # for the decimals that it prints as, which are the ones that were sent.
    known = abs(seconds) <= REQUEST_TIMESTAMP_SECONDS_MAX
    return int(Decimal(repr(seconds)) * 1000) if known else -1


def _read_text(text: str) -> int:
    if _UNIX_SECONDS.fullmatch(text):
        seconds, _, fraction = text.partition(".")
        return int(seconds) * 1000 + _milliseconds(fraction)
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("must be an RFC 3339 timestamp such as 2024-06-01T12:00:00.000Z")
    day, hour, minute, second, fraction, sign, *offset = match.groups(default="")
    clock = _clock(int(hour), int(minute), int(second))
    east = _clock(int(offset[0]), int(offset[1]), 0) if sign else 0
    days = date.fromisoformat(day).toordinal() - _UNIX_EPOCH
    seconds_since = days * 86_400 + clock - (-east if sign == "-" else east)
    return seconds_since * 1000 + _milliseconds(fraction)


def _clock(hour: int, minute: int, second: int) -> int:
    if hour > _HOURS or minute > _MINUTES or second > _SECONDS:
        raise ValueError("must be a time of day that exists")
    return hour * 3_600 + minute * 60 + second


def _milliseconds(fraction: str) -> int:
    return int(f"{fraction[:3]:0<3}")
