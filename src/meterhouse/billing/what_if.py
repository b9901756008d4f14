"""What usage would have cost under other prices.

What a reader may rely on: each period of a customer is priced by itself, with the charges that an
invoice would have (`billing.charge`), so tiers begin anew with each.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from meterhouse.billing.charge import ZERO, billable, charges
from meterhouse.billing.money import EXACT
from meterhouse.billing.price import Pricing


class Used(NamedTuple):
    """The usage of a customer in one period, and the number of the candidate that prices it."""

    candidate: int
    customer: str
    usage: Decimal


class Cost(NamedTuple):
    """Usage, and the amount in minor units that it comes to."""

    usage: Decimal = ZERO
    amount: int = 0

    def plus(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(EXACT.add(self.usage, other.usage), self.amount + other.amount)


def reckon(
    candidates: Sequence[Pricing], used: Iterable[Used], multiplier: Decimal
) -> dict[str, list[Cost]]:
    """Return what each customer's usage, so many times as much, costs under each candidate."""
    found: dict[str, list[Cost]] = {}
    for number, customer, usage in used:
        costs = found.setdefault(customer, [Cost()] * len(candidates))
        multiplied = EXACT.multiply(usage, multiplier)
        amount = sum(one.amount for one in charges(candidates[number], billable(multiplied)))
        costs[number] = costs[number].plus(Cost(multiplied, amount))
    return found
