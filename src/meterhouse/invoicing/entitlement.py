"""Find how far a customer is from its lines on a meter (`billing.entitlement`).

What a reader may rely on: it is counted from what is stored, by the code that triggers alerts and
makes previews, so it says what those will. Many customers take little more than one.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.billing.alert import Alert
from meterhouse.billing.credit import Grant
from meterhouse.billing.entitlement import Entitlement, Position
from meterhouse.billing.period import Period
from meterhouse.billing.price import Price
from meterhouse.errors import Refusal
from meterhouse.invoicing.bill import prices_of
from meterhouse.invoicing.burn_down import BurnDown, burn_down
from meterhouse.invoicing.count import Asked
from meterhouse.invoicing.present import shown_at
from meterhouse.invoicing.turn import Terms
from meterhouse.ledger import alerts, credit_grants, customers, meters
from meterhouse.ledger.customers import Customer
from meterhouse.metering.model import Meter, Scope
from meterhouse.metering.usage import PeriodQuery
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope


class Pair(NamedTuple):
    """A customer and a meter, by their ids."""

    customer: str
    meter: str


class _About(NamedTuple):
    """What is to be counted, of whom; `prices` are those of the meter that grants name."""

    customer: Customer
    meter: Meter
    alerts: list[tuple[Alert, Period]]
    granted: bool
    prices: frozenset[str]

    @property
    def questions(self) -> list[PeriodQuery]:
        """What is asked about usage."""
        return [
            PeriodQuery(self.meter, self.customer.id, *period, alert.measure.dimensions)
            for alert, period in self.alerts
        ]


async def entitlements(
    stores: Asked,
    scope: Scope,
    pairs: Sequence[Pair],
    terms: Terms,
    now: int,
    complete_until: int,
) -> list[Entitlement | Refusal]:
    """Return how far customers of a scope are, in the order of the pairs.

    Where a customer or a meter is not there it is the refusal that says so. `complete_until` is an
    instant up to which all is stored.
    """
    read: list[_About | Refusal] = await stores.read(_read, scope.id, pairs, now)
    found = [one for one in read if isinstance(one, _About)]
    asked = [question for one in found for question in one.questions]
    used = iter(await stores.usage(UsageStore.periods, scope, asked) if asked else ())
    granted = {one.customer.id: one.customer for one in found if one.granted}
    burnt = await burn_down(stores, scope, [*granted.values()], terms, now) if granted else []
    of = dict(zip(granted, burnt, strict=True))

    def entitlement(about: _About) -> Entitlement:
        positions = tuple(
            Position(alert, period, next(used).usage) for alert, period in about.alerts
        )
        burn = of.get(about.customer.id)
        left = _left(burn, about.prices) if burn else {}
        return Entitlement(complete_until, positions, left)

    return [one if isinstance(one, Refusal) else entitlement(one) for one in read]


def _read(
    connection: sa.Connection, scope: int, pairs: Sequence[Pair], now: int
) -> list[_About | Refusal]:
    known = meters.by_ids(connection, {one.meter for one in pairs})
    granted = credit_grants.unspent(connection, {one.customer for one in pairs})
    found: list[_About | Refusal] = []
    for pair in pairs:
        customer = customers.find_customer(connection, scope, pair.customer)
        meter = known.get(pair.meter)
        if customer is None or customer.deleted_at is not None:
            found.append(envelope.no_such("customer", pair.customer, "customer"))
        elif meter is None or meter.scope != scope:
            found.append(envelope.no_such("billing meter", pair.meter, "meter"))
        else:
            found.append(_about(connection, customer, meter, granted[customer.id], now))
    return found


def _about(
    connection: sa.Connection, customer: Customer, meter: Meter, grants: Sequence[Grant], now: int
) -> _About:
    as_of = shown_at(connection, customer.scope, customer.test_clock, now)
    active = alerts.active_about(connection, meter.id, customer.id)
    named = {price for grant in grants for price in grant.prices}
    return _About(
        customer,
        meter,
        [(alert, alert.measure.period_at(as_of)) for alert in active],
        bool(grants),
        _of_meter(prices_of(connection, customer.scope, named), meter.id),
    )


def _of_meter(named: Mapping[str, Price], meter: str) -> frozenset[str]:
    return frozenset(
        id_
        for id_, price in named.items()
        if price.recurring is not None and price.recurring.meter == meter
    )


def _left(burnt: BurnDown, of_meter: frozenset[str]) -> dict[str, int]:
    """Add up what is left of the grants that may pay for a meter's usage now, by currency."""
    left: dict[str, int] = {}
    for use in burnt.uses:
        grant = use.grant
        may_pay = not grant.prices or of_meter.intersection(grant.prices)
        if may_pay and grant.effective_at <= burnt.as_of and not grant.is_over(burnt.as_of):
            left[grant.currency] = left.get(grant.currency, 0) + use.remaining
    return left
