"""How far a customer's credit grants are used up: by drafts, and by periods that are still open.

What a reader may rely on:

- Drafts take first, in the order in which they will be finalized, and then the open periods of the
  customer's subscriptions, in the order in which they end: from usage as it is now, by the rules by
  which they will (`billing.credit`).
- Nothing is stored.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.billing.burn_down import Pace, used_up
from meterhouse.billing.credit import Grant, applications, in_order, payable, spent
from meterhouse.billing.invoice import Invoice
from meterhouse.invoicing.bill import Stored
from meterhouse.invoicing.count import Asked, count
from meterhouse.invoicing.present import shown_at
from meterhouse.invoicing.preview import Preview, Previewed, next_of, shown
from meterhouse.invoicing.recount import recounted
from meterhouse.invoicing.turn import Terms
from meterhouse.ledger import credit_grants, invoices, subscriptions
from meterhouse.ledger.customers import Customer
from meterhouse.metering.model import Scope


class Left(NamedTuple):
    """A grant of which something is left, and what will be once the drafts are finalized."""

    grant: Grant
    available: int


class Use(NamedTuple):
    """What of a grant's balance is spoken for, and when the rest is used up at the present pace.

    That is None where it never is, or not before it expires.
    """

    grant: Grant
    drafts: int
    periods: int
    used_up_at: int | None

    @property
    def remaining(self) -> int:
        """What nobody has used yet."""
        return self.grant.balance - self.drafts - self.periods


class _Open(NamedTuple):
    """The grants of a customer, its drafts, and the next invoices of its subscriptions."""

    as_of: int
    grants: list[Grant]
    drafts: list[Invoice]
    coming: list[Preview]


class BurnDown(NamedTuple):
    """The grants of a customer in the order in which they pay, as of an instant of its time."""

    as_of: int
    uses: list[Use]
    paces: list[Pace]


async def left_of(stores: Asked, scope: Scope, customer: str, now: int) -> list[Left]:
    """Return the grants of a customer of which something is left."""
    grants, drafts = await stores.read(_read, customer)
    counted = await recounted(stores, scope, drafts, now) if grants and drafts else []
    after = _after(grants, counted)
    return [Left(before, then.balance) for before, then in zip(grants, after, strict=True)]


async def burn_down(
    stores: Asked, scope: Scope, whose: Sequence[Customer], terms: Terms, now: int
) -> list[BurnDown]:
    """Return how the open periods of customers use their grants, in the order of the customers."""
    open_ = await stores.read(_read_open, whose, terms, now)
    drafts = await recounted(stores, scope, [one for each in open_ for one in each.drafts], now)
    coming = await _previewed(stores, scope, [one for each in open_ for one in each.coming], now)
    drafts_left, coming_left = iter(drafts), iter(coming)
    return [
        _burnt(
            each, [*islice(drafts_left, len(each.drafts))], [*islice(coming_left, len(each.coming))]
        )
        for each in open_
    ]


def _burnt(open_: _Open, drafts: Sequence[Stored], coming: Sequence[Previewed]) -> BurnDown:
    """Return what becomes of a customer's grants by what was counted of its drafts and periods."""
    as_of, ordered = open_.as_of, in_order(open_.grants)
    after_drafts = _after(ordered, drafts)
    after_periods = _after(after_drafts, coming)
    paces = [pace for one in coming for pace in _paces(one, as_of)]
    ends = used_up(after_periods, paces, as_of)
    uses = [
        Use(
            grant,
            grant.balance - then.balance,
            then.balance - last.balance,
            ends.get(grant.id) if last.balance else as_of,
        )
        for grant, then, last in zip(ordered, after_drafts, after_periods, strict=True)
    ]
    return BurnDown(as_of, uses, paces)


def _after(grants: Sequence[Grant], taking: Iterable[Stored | Previewed]) -> list[Grant]:
    """Return grants, in their order, as they are once these invoices are finalized."""
    found = list(grants)
    for one in sorted(taking, key=_turn):
        invoice = one.invoice
        applied = applications(found, one.lines, invoice.period.end, invoice.currency)
        found = spent(found, applied)
    return found


def _turn(one: Stored | Previewed) -> tuple[bool, int, int, str]:
    """Return what tells which is finalized first: what nobody finalizes comes last."""
    invoice = one.invoice
    return invoice.finalizes_at is None, invoice.finalizes_at or 0, invoice.created, invoice.id


def _read(connection: sa.Connection, customer: str) -> tuple[list[Grant], list[Invoice]]:
    grants = credit_grants.unspent(connection, {customer})[customer]
    return grants, invoices.drafts_of(connection, customer) if grants else []


def _read_open(
    connection: sa.Connection, whose: Sequence[Customer], terms: Terms, now: int
) -> list[_Open]:
    """Return the grants of customers, and what will take of them."""
    found = []
    for customer in whose:
        grants, drafts = _read(connection, customer.id)
        known = subscriptions.of_customer(connection, customer.scope, customer.id)
        coming = [next_of(connection, customer, one, terms) for one in known]
        as_of = shown_at(connection, customer.scope, customer.test_clock, now)
        found.append(_Open(as_of, grants, drafts, [one for one in coming if one is not None]))
    return found


async def _previewed(
    stores: Asked, scope: Scope, previews: Sequence[Preview], now: int
) -> list[Previewed]:
    """Return previews with their lines, all of which are counted in one question."""
    asked = [segment for one in previews for segment in one.bill.segments]
    found = iter(await count(stores, scope, asked, now))
    return [shown(one, [next(found) for _ in one.bill.segments]) for one in previews]


def _paces(one: Previewed, as_of: int) -> list[Pace]:
    """Return what each price of an open period has come to since that began."""
    amounts = payable(one.lines)
    found: dict[tuple[str, int], int] = {}
    for line in one.lines:
        if line.price is not None and line.segment is not None and line.period.end > as_of:
            key = line.price, line.period.start
            found[key] = found.get(key, 0) + amounts[line.id]
    currency = one.invoice.currency
    return [Pace(price, currency, amount, since, as_of) for (price, since), amount in found.items()]
