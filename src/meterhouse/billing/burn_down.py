"""When credit grants will be used up, if a customer goes on as in its open periods so far.

A *pace* is money in time: what was used of a price since its period began. It is told in money
because credits are, so tiers that are still to come are not foreseen.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from meterhouse.billing.credit import Grant, in_order


class Pace(NamedTuple):
    """What a price has come to, in minor units, since its period began at `since`, until `now`."""

    price: str
    currency: str
    amount: int
    since: int
    now: int

    @property
    def rate(self) -> Fraction:
        """How much that is in a millisecond."""
        passed = self.now - self.since
        return Fraction(max(self.amount, 0), passed) if passed > 0 else Fraction(0)


def used_up(grants: Iterable[Grant], paces: Sequence[Pace], now: int) -> dict[str, int]:
    """Return the instants at which grants will be used up, by their ids.

    Left out is what nobody uses, or not before it expires. At every instant the first grant that
    may pays for each price, as it does on invoices.
    """
    ordered = in_order(grants)
    left = {one.id: Fraction(one.balance) for one in ordered}
    found: dict[str, int] = {}
    at = Fraction(now)
    while True:
        there = [one for one in ordered if left[one.id] and not _is_over(one, at)]
        drained = _drained([one for one in there if one.effective_at <= at], paces)
        turns = [at + left[id_] / rate for id_, rate in drained.items()]
        turns += [Fraction(one.expires_at) for one in there if one.expires_at is not None]
        turns += [Fraction(one.effective_at) for one in there if one.effective_at > at]
        if not turns:
            return found
        passed, at = min(turns) - at, min(turns)
        for id_, rate in drained.items():
            left[id_] -= rate * passed
            if not left[id_]:
                found[id_] = int(at)


def _is_over(grant: Grant, at: Fraction) -> bool:
    return grant.expires_at is not None and grant.expires_at <= at


def _drained(payers: Sequence[Grant], paces: Sequence[Pace]) -> Mapping[str, Fraction]:
    """Return how fast each of the grants that pay becomes less, by their ids."""
    rates: dict[str, Fraction] = {}
    for pace in paces:
        payer = next((one for one in payers if _pays(one, pace)), None)
        if payer is not None and pace.rate:
            rates[payer.id] = rates.get(payer.id, Fraction(0)) + pace.rate
    return rates


def _pays(grant: Grant, pace: Pace) -> bool:
    return grant.currency == pace.currency and grant.covers(pace.price)
