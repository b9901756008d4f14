"""Alerts: what tells somebody that usage has reached a line (https://docs.stripe.com/api/billing/alert).

What a reader may rely on:

- An alert has *steps*, each of which is reached by every customer for itself, and once: once for
  ever, or, where the alert recurs, once in every period.
- A step is usage, or so many percent of the alert's budget.
- Days, weeks, which begin on Monday, and months are UTC's. What happens once has one period, which
  is all of time.
- Only an active alert is evaluated, when usage is reported after it was made or activated; usage of
  before counts.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal
from typing import Literal, NamedTuple, get_args

import msgspec

from meterhouse.billing.money import EXACT
from meterhouse.billing.period import Period, period_at
from meterhouse.billing.price import Recurrence
from meterhouse.limits import ALERT_TIME_LIMIT, BILLING_DIGITS_MAX, EVENT_VALUE_DECIMALS_MAX

Status = Literal["active", "archived", "inactive"]
Recurs = Literal["day", "month", "one_time", "week"]
RECURS: tuple[Recurs, ...] = get_args(Recurs)

ALWAYS = Period(0, ALERT_TIME_LIMIT)

_MONDAY = 4 * 86_400_000  # the epoch was a Thursday
_ANCHORS: Mapping[str, int] = {"day": 0, "week": _MONDAY, "month": 0}
_HUNDRED = Decimal(100)
_CEILING = Context(prec=50, rounding=ROUND_CEILING)
_WIDE = Context(prec=BILLING_DIGITS_MAX)
_LEAST = Decimal(1).scaleb(-EVENT_VALUE_DECIMALS_MAX)  # that usage differs by


class Step(NamedTuple):
    """A line: the usage that reaches it, and how it was told where that is percent of a budget."""

    gte: Decimal
    percent: Decimal | None = None


class Measure(msgspec.Struct, frozen=True):
    """What alerts have in common that compare the same: a customer's usage, summed up likewise.

    Only events count that have all of the `dimensions`, which are pairs of a payload's key and its
    value in their order.
    """

    meter: str
    recurs: Recurs
    dimensions: tuple[tuple[str, str], ...] = ()

    def periods(self, first: int, last: int) -> list[Period]:
        """Return the periods from that of the instant `first` to that of `last`."""
        if self.recurs == "one_time":
            return [ALWAYS]
        found = [self.period_at(first)]
        while found[-1].end <= last:
            found.append(self.period_at(found[-1].end))
        return found

    def period_at(self, instant: int) -> Period:
        """Return the period that holds an instant."""
        if self.recurs == "one_time":
            return ALWAYS
        return period_at(_ANCHORS[self.recurs], Recurrence(self.recurs, 1), instant)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert of a scope; `customer` is None where it is about each of them.

    `steps` rise; they are percents where there is a `budget`. What was reported up to the position
    `since` does not have it evaluated. With `hard_limit` whoever has reached the last step may use
    no more. `revision` grows with every change of any alert.
    """

    id: str
    scope: int
    title: str
    status: Status = "active"
    meter: str
    customer: str | None = None
    recurs: Recurs = "one_time"
    dimensions: dict[str, str] = {}
    steps: tuple[Decimal, ...]
    budget: Decimal | None = None
    hard_limit: bool = False
    since: int
    revision: int = 0
    created: int

    @property
    def measure(self) -> Measure:
        """What it compares with its steps."""
        return Measure(self.meter, self.recurs, tuple(sorted(self.dimensions.items())))

    @property
    def lines(self) -> list[Step]:
        """Its steps as usage."""
        if self.budget is None:
            return [Step(one) for one in self.steps]
        return [Step(_part(self.budget, one), one) for one in self.steps]

    @property
    def plain(self) -> bool:
        """Whether it is one that Stripe could have made."""
        return (
            self.recurs == "one_time"
            and not self.dimensions
            and self.budget is None
            and not self.hard_limit
            and len(self.steps) == 1
            and self.steps[0] == self.steps[0].to_integral_value()
        )


class Pace(NamedTuple):
    """How fast somebody uses something: so much in so many milliseconds."""

    used: Decimal
    milliseconds: int

    def reaches(self, total: Decimal, gte: Decimal, now: int) -> int | None:
        """Return when a total that stands there `now` reaches a step; None where it never does."""
        if total >= gte:
            return now
        if self.used <= 0:
            return None
        rest = EXACT.multiply(gte - total, Decimal(self.milliseconds))
        return now + int(_CEILING.divide(rest, self.used).to_integral_value(ROUND_CEILING))


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """That a customer has reached a step of an alert in a period, found when it was `created`.

    That is an instant of the customer's time; `value` is what the usage came to then.
    """

    id: str
    scope: int
    alert: str
    customer: str
    step: int
    period_start: int
    period_end: int
    gte: Decimal
    value: Decimal
    created: int


def _part(budget: Decimal, percent: Decimal) -> Decimal:
    """Return the least usage that is so many percent of a budget."""
    part = EXACT.divide(EXACT.multiply(budget, percent), _HUNDRED)
    return part.quantize(_LEAST, ROUND_CEILING, _WIDE)
