"""Find how far a customer is from its lines on a meter (`billing.entitlement`).

What a reader may rely on: it is counted from what is stored, by the code that triggers alerts and
makes previews, so it says what those will.
"""

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.billing.alert import Alert
from meterhouse.billing.entitlement import Entitlement, Position
from meterhouse.billing.period import Period
from meterhouse.billing.price import Price
from meterhouse.invoicing.count import Asked
from meterhouse.invoicing.drawdown import BurnDown, burn_down
from meterhouse.invoicing.present import shown_at
from meterhouse.invoicing.turn import Terms
from meterhouse.ledger import alerts, credit_grants, customers, meters, prices
from meterhouse.ledger.customers import Customer
from meterhouse.metering.model import Meter, Scope
from meterhouse.metering.usage import PeriodQuery
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope


class _About(NamedTuple):
    """What is to be counted, of whom; `prices` are those of the meter that grants name."""

    customer: Customer
    meter: Meter
    alerts: list[tuple[Alert, Period]]
    granted: bool
    prices: frozenset[str]


async def entitlement(
    stores: Asked,
    scope: Scope,
    customer: str,
    meter: str,
    terms: Terms,
    now: int,
    complete_until: int,
) -> Entitlement:
    """Return how far a customer is; `complete_until` is an instant up to which all is stored.

    Raises the refusals of a customer and of a meter that are not there.
    """
    about: _About = await stores.read(_read, scope, customer, meter, now)
    questions = [
        PeriodQuery(about.meter, customer, *period, alert.measure.dimensions)
        for alert, period in about.alerts
    ]
    counted = await stores.usage(UsageStore.periods, scope, questions) if questions else []
    positions = tuple(
        Position(alert, period, one.usage)
        for (alert, period), one in zip(about.alerts, counted, strict=True)
    )
    credits_left: dict[str, int] = {}
    if about.granted:
        burnt = await burn_down(stores, scope, about.customer, terms, now)
        credits_left = _left(burnt, about.prices)
    return Entitlement(complete_until, positions, credits_left)


def _read(
    connection: sa.Connection, scope: Scope, customer_id: str, meter_id: str, now: int
) -> _About:
    customer = customers.find_customer(connection, scope.id, customer_id)
    if customer is None or customer.deleted_at is not None:
        raise envelope.no_such("customer", customer_id, "customer")
    meter = meters.by_ids(connection, (meter_id,)).get(meter_id)
    if meter is None or meter.scope != scope.id:
        raise envelope.no_such("billing meter", meter_id, "meter")
    as_of = shown_at(connection, scope.id, customer.test_clock, now)
    active = alerts.active_about(connection, meter_id, customer_id)
    grants = credit_grants.unspent(connection, (customer_id,))[customer_id]
    named = {price for grant in grants for price in grant.prices}
    return _About(
        customer,
        meter,
        [(alert, alert.measure.period_at(as_of)) for alert in active],
        bool(grants),
        _of_meter(prices.by_ids(connection, scope.id, named), meter_id),
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
