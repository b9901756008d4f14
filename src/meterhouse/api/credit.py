"""Credits: what requests about grants, their transactions and balances have in common."""

from typing import Annotated, Literal

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Call
from meterhouse.billing.credit import Grant
from meterhouse.ledger import credit_grants, customers, prices
from meterhouse.ledger.customers import Customer
from meterhouse.wire import credit_errors, envelope
from meterhouse.wire.param_errors import exclusive_params, missing_param
from meterhouse.wire.params import Items, Params, Unsupported


class PriceParams(Params):
    """A price that is named."""

    id: str


class ScopeParams(Params):
    """Which prices: all that are metered, or some of them."""

    billable_items: Unsupported | None = None
    price_type: Literal["metered"] | None = None
    prices: Annotated[list[PriceParams], Items(limits.CREDIT_GRANT_PRICES_ITEMS_MAX)] | None = None


def prices_of(
    connection: sa.Connection, call: Call, scope: ScopeParams, param: str
) -> tuple[str, ...]:
    """Return the prices that are named, none where it is all; refuse what credits cannot pay for.

    `param` is how the sender calls the scope.
    """
    if scope.price_type is not None and scope.prices is not None:
        raise exclusive_params(f"{param}[price_type]", f"{param}[prices]")
    if scope.price_type is None and not scope.prices:
        raise credit_errors.no_scope(param)
    wanted = [price.id for price in scope.prices or ()]
    known = prices.by_ids(connection, call.scope.id, wanted)
    for number, price_id in enumerate(wanted):
        named = f"{param}[prices][{number}][id]"
        price = known.get(price_id)
        if price is None:
            raise envelope.no_such("price", price_id, named)
        if price.recurring is None or price.recurring.meter is None:
            raise credit_errors.not_metered(price_id, named)
    return tuple(dict.fromkeys(wanted))


def customer_asked(connection: sa.Connection, call: Call, customer_id: str | None) -> Customer:
    """Return the customer whose credits are asked for, also one that was deleted."""
    if customer_id is None:
        raise missing_param("customer")
    customer = customers.find_customer(connection, call.scope.id, customer_id)
    if customer is None:
        raise envelope.no_such("customer", customer_id, "customer")
    return customer


def grant_asked(
    connection: sa.Connection, call: Call, grant_id: str, customer: Customer, param: str
) -> Grant:
    """Return the grant of a customer that is named in a parameter."""
    grant = credit_grants.find_grant(connection, call.scope.id, grant_id)
    if grant is None:
        raise envelope.no_such("billing credit grant", grant_id, param)
    if grant.customer != customer.id:
        raise credit_errors.not_of_customer(grant_id, customer.id, param)
    return grant
