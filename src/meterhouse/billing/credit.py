"""Credit grants: money that a customer has to use metered prices for, and what becomes of it.

What a reader may rely on:

- A grant's balance is the sum of its transactions, and never below zero. Nothing changes a
  transaction.
- Credits pay for usage alone, in their own currency, and never more of it than the whole invoice
  comes to: what earlier invoices have charged for the same usage is taken off first.
- Which grant pays what depends on what the grants are, and not on how they are stored.

https://docs.stripe.com/billing/subscriptions/usage-based/billing-credits
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from meterhouse.billing.invoice import Credit, Line

Category = Literal["paid", "promotional"]
Kind = Literal[
    "credits_application_invoice_voided",
    "credits_applied",
    "credits_expired",
    "credits_granted",
    "credits_voided",
]


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A grant: `amount` was given, in minor units of `currency`, and `balance` of it is left.

    It pays for usage under `prices`, or under any price where there are none. A grant of a low
    `priority` goes first. It is there from `effective_at` on, and no longer at `expires_at`.
    """

    id: str
    scope: int
    customer: str
    test_clock: str | None
    currency: str
    amount: int
    balance: int = 0
    prices: tuple[str, ...] = ()
    category: Category = "paid"
    priority: int
    effective_at: int
    expires_at: int | None = None
    voided_at: int | None = None
    name: str | None = None
    metadata: dict[str, str] = {}
    created: int
    updated: int

    @property
    def due(self) -> int | None:
        """When what is left of it expires; None where nothing does."""
        return self.expires_at if self.balance else None

    def covers(self, price: str | None) -> bool:
        """Tell whether it may pay for usage under a price."""
        return not self.prices or price in self.prices

    def is_over(self, now: int) -> bool:
        """Tell whether it has expired or was voided."""
        return self.voided_at is not None or (
            self.expires_at is not None and self.expires_at <= now
        )


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a grant's balance by `amount`, which is below zero where that becomes less.

    `invoice` and `line` are what the credits were applied to, or are given back from.
    """

    id: str
    scope: int
    customer: str
    test_clock: str | None
    grant: str
    kind: Kind
    currency: str
    amount: int
    invoice: str | None = None
    line: str | None = None
    effective_at: int
    created: int


class Application(NamedTuple):
    """What a grant pays of a line."""

    grant: str
    line: str
    amount: int


def eligible(grant: Grant, period_end: int, currency: str) -> bool:
    """Tell whether a grant may pay for an invoice of a period that ends so.

    It has to be there at that end, whatever becomes of it until the invoice is finalized, but then
    something has to be left of it.
    """
    return (
        grant.currency == currency
        and grant.balance > 0
        and grant.effective_at <= period_end
        and not grant.is_over(period_end)
    )


def in_order(grants: Iterable[Grant]) -> list[Grant]:
    """Return grants in the order in which they pay."""
    return sorted(grants, key=_rank)


def applications(
    grants: Iterable[Grant], lines: Sequence[Line], period_end: int, currency: str
) -> list[Application]:
    """Return what each of a customer's grants pays of each line, in the order of both."""
    open_ = payable(lines)
    found: list[Application] = []
    for grant in in_order(one for one in grants if eligible(one, period_end, currency)):
        left = grant.balance
        for line in lines:
            amount = min(left, open_.get(line.id, 0)) if grant.covers(line.price) else 0
            if amount:
                left -= amount
                open_[line.id] -= amount
                found.append(Application(grant.id, line.id, amount))
    return found


def payable(lines: Iterable[Line]) -> dict[str, int]:
    """Return how much of each line credits may pay, by the ids of lines of usage."""
    lines = list(lines)
    whole = max(sum(line.amount for line in lines), 0)
    owed: dict[int, int] = {}  # for the usage of each segment
    for line in lines:
        if line.segment is not None:
            owed[line.segment] = owed.get(line.segment, 0) + line.amount
    found: dict[str, int] = {}
    for line in lines:
        if line.segment is None:
            continue
        amount = max(min(line.amount, owed[line.segment], whole), 0)
        found[line.id] = amount
        owed[line.segment] -= amount
        whole -= amount
    return found


def simulated(
    grants: Iterable[Grant], lines: Sequence[Line], period_end: int, currency: str
) -> list[Line]:
    """Return lines with what grants would pay of them, if they were finalized now."""
    paid: dict[str, list[Credit]] = {}
    for one in applications(grants, lines, period_end, currency):
        paid.setdefault(one.line, []).append(Credit(one.amount, None))
    return with_credits(lines, paid)


def with_credits(lines: Iterable[Line], paid: Mapping[str, Sequence[Credit]]) -> list[Line]:
    """Return lines with these credits, by the ids of lines, in place of those that they had."""
    return [
        line
        if line.credits == (credits_ := tuple(paid.get(line.id, ())))
        else msgspec.structs.replace(line, credits=credits_)
        for line in lines
    ]


def spent(grants: Iterable[Grant], applied: Iterable[Application]) -> list[Grant]:
    """Return grants, in their order, as they are once they have paid."""
    taken: dict[str, int] = {}
    for one in applied:
        taken[one.grant] = taken.get(one.grant, 0) + one.amount
    return [
        msgspec.structs.replace(grant, balance=grant.balance - taken.get(grant.id, 0))
        for grant in grants
    ]


def _rank(grant: Grant) -> tuple[int, bool, int, bool, int, int, str]:
    return (
        grant.priority,
        grant.expires_at is None,
        grant.expires_at or 0,
        grant.category != "promotional",
        grant.effective_at,
        grant.created,
        grant.id,
    )
