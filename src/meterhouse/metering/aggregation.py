"""The formulas: how many uses become one number. Each is a commutative monoid.

What a reader may rely on: `combine` is associative and commutative, `empty` is its neutral
element, and the result of a whole is `result` of the combination of its parts, however it was cut
and in whatever order the parts came. Nothing is rounded: a sum beyond `USAGE_DIGITS_MAX` digits
raises `decimal.Inexact`.

https://docs.stripe.com/api/billing/meter/object#billing_meter_object-default_aggregation-formula
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import reduce
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from meterhouse.limits import USAGE_DIGITS_MAX
from meterhouse.metering.model import Formula
from meterhouse.metering.value import ZERO

Use = tuple[int, int, Decimal]
"""The timestamp, the position and the value of an event that counts."""

State = TypeVar("State")

# Python's usual context would round a sum to 28 digits and say nothing.
EXACT = Context(prec=USAGE_DIGITS_MAX, traps=[Inexact, InvalidOperation])


@dataclass(frozen=True, slots=True)
class Aggregation(Generic[State]):
    """A formula: `of` a use, `combine` two states, `empty` for no use, `result` as a number."""

    empty: State
    of: Callable[[Use], State]
    combine: Callable[[State, State], State]
    result: Callable[[State], Decimal]

    def over(self, uses: Iterable[Use]) -> Decimal:
        """Aggregate `uses`."""
        return self.result(reduce(self.combine, map(self.of, uses), self.empty))


def _later(one: Use | None, other: Use | None) -> Use | None:
    """Return the use with the later timestamp; of two at one instant the later received."""
    if one is None or other is None:
        return other if one is None else one
    return one if one[:2] > other[:2] else other


COUNT: Aggregation[int] = Aggregation(
    empty=0,
    of=lambda _: 1,
    combine=lambda one, other: one + other,
    result=Decimal,
)
SUM: Aggregation[Decimal] = Aggregation(
    empty=ZERO,
    of=lambda use: use[2],
    combine=EXACT.add,
    result=lambda total: total,
)
LAST: Aggregation[Use | None] = Aggregation(
    empty=None,
    of=lambda use: use,
    combine=_later,
    result=lambda use: ZERO if use is None else use[2],
)

AGGREGATIONS: Mapping[Formula, Aggregation[Any]] = MappingProxyType(
    {"count": COUNT, "sum": SUM, "last": LAST}
)
