"""What is asked about meter usage: the parameters that several endpoints share, and their bounds.

Dimensions are keys of the payload that a meter declares; tenants are any keys.
"""

from collections.abc import Iterable, Mapping, Sized
from typing import Annotated

from msgspec import field

from meterhouse import limits, zones
from meterhouse.metering.meter_usage import Filter, MeterQuestion
from meterhouse.metering.model import Meter
from meterhouse.metering.window import MILLISECONDS, GroupingWindow, is_aligned
from meterhouse.wire import refusals
from meterhouse.wire.params import Items, Keys, Params

_KEY_CHARS_MAX = limits.EVENT_PAYLOAD_KEY_CHARS_MAX
_VALUE_CHARS_MAX = limits.EVENT_PAYLOAD_VALUE_CHARS_MAX

DimensionGroupKeys = Annotated[
    list[str], Items(limits.METER_USAGE_DIMENSION_GROUP_KEYS_MAX, _KEY_CHARS_MAX)
]
DimensionFilters = Annotated[
    dict[str, list[str]],
    Keys(limits.METER_USAGE_DIMENSION_FILTER_KEYS_MAX, _KEY_CHARS_MAX, _VALUE_CHARS_MAX),
]
TenantGroupKeys = Annotated[
    list[str], Items(limits.METER_USAGE_TENANT_GROUP_KEYS_MAX, _KEY_CHARS_MAX)
]
TenantFilters = Annotated[
    dict[str, list[str]],
    Keys(limits.METER_USAGE_TENANT_FILTER_KEYS_MAX, _KEY_CHARS_MAX, _VALUE_CHARS_MAX),
]


class QuestionParams(Params, kw_only=True):
    """How the usage of a meter is told apart, and what of it is left out."""

    dimension_group_by_keys: DimensionGroupKeys = field(default_factory=list)
    dimension_filters: DimensionFilters = field(default_factory=dict)
    tenant_group_by_keys: TenantGroupKeys = field(default_factory=list)
    tenant_filters: TenantFilters = field(default_factory=dict)


def question(meter: Meter, asked: QuestionParams, param: str) -> MeterQuestion:
    """Return the question about a meter; `param` is how the sender names its parameters."""
    groups = tuple(dict.fromkeys(asked.dimension_group_by_keys))
    check_dimensions(meter, groups, f"{param}[dimension_group_by_keys]")
    check_dimensions(meter, asked.dimension_filters, f"{param}[dimension_filters]")
    return MeterQuestion(
        meter,
        groups,
        filters(asked.dimension_filters),
        tuple(dict.fromkeys(asked.tenant_group_by_keys)),
        filters(asked.tenant_filters),
    )


def filters(asked: Mapping[str, list[str]]) -> tuple[Filter, ...]:
    """Return the filters of a hash of values by key."""
    return tuple(Filter(key, tuple(values)) for key, values in asked.items())


def check_dimensions(meter: Meter, keys: Iterable[str], param: str) -> None:
    """Refuse keys that the meter does not declare."""
    declared = meter.dimension_keys or ()
    for key in keys:
        if key not in declared:
            raise refusals.unknown_dimension(key, meter.id, declared, param)


def check_range(start: int, end: int, names: tuple[str, str]) -> None:
    """Refuse a range of milliseconds that is not of whole minutes; `names` are the parameters'."""
    for name, instant in zip(names, (start, end), strict=True):
        if not is_aligned(instant, "minute"):
            raise refusals.unaligned_time(name, "minute")
    if start > end:
        raise refusals.invalid_time_range()


def check_windows(start: int, end: int, window: GroupingWindow | None) -> int:
    """Refuse a range that would be cut into more windows than an answer may have rows.

    Returns how many windows there may be.
    """
    if window is None:
        return 1
    shortest = MILLISECONDS["hour" if window == "hour" else "day"]
    whole = (end - start) // shortest
    if whole >= limits.METER_USAGE_ROWS_MAX:
        raise refusals.too_many_rows(limits.METER_USAGE_ROWS_MAX)
    return whole + 2


def check_rows(rows: Sized) -> None:
    """Refuse to answer with more rows than an answer may have."""
    if len(rows) > limits.METER_USAGE_ROWS_MAX:
        raise refusals.too_many_rows(limits.METER_USAGE_ROWS_MAX)


def check_zone(name: str) -> None:
    """Refuse what is no time zone."""
    if name not in zones.names():
        raise refusals.unknown_zone(name)
