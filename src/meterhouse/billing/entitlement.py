"""Entitlement: how far a customer is from the lines that are drawn for it on a meter.

What a reader may rely on:

- Only a hard limit says no of itself: an alert that the operator has made one. That credits are
  used up says no to whoever wants only what is paid for.
- What costs nothing to be wrong about is not decided here: an application that cannot ask goes on
  as it thinks best.
"""

from decimal import Decimal
from typing import Literal, NamedTuple

from meterhouse.billing.alert import Alert
from meterhouse.billing.period import Period

Reason = Literal["credits_used_up", "hard_limit_reached"]


class Position(NamedTuple):
    """How much a customer has `used` by the measure of an alert, in its present period."""

    alert: Alert
    period: Period
    used: Decimal

    @property
    def limit(self) -> Decimal:
        """The last of the alert's steps."""
        return self.alert.lines[-1].gte

    @property
    def is_at_limit(self) -> bool:
        """Tell whether nothing more may be used."""
        return self.alert.hard_limit and self.used >= self.limit


class Entitlement(NamedTuple):
    """A customer's positions on a meter; `complete_until` an instant nothing is missing of them.

    `credits` is what is left of all grants that may pay for the meter's usage, in minor units by
    currency, once the open periods have taken theirs.
    """

    complete_until: int
    positions: tuple[Position, ...]
    credits: dict[str, int]

    def reasons(self, *, require_credits: bool) -> list[Reason]:
        """Return why the customer may use no more, nothing where it may."""
        found: list[Reason] = []
        if any(one.is_at_limit for one in self.positions):
            found.append("hard_limit_reached")
        if require_credits and not any(left > 0 for left in self.credits.values()):
            found.append("credits_used_up")
        return found
