"""`/v1/billing/credit_balance_summary`: what a customer has left, in each currency.

https://docs.stripe.com/api/billing/credit-balance-summary. A grant counts from when it is effective
on.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import sqlalchemy as sa

from meterhouse.api import credit as common
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.invoice import expand_members
from meterhouse.billing.credit import Grant
from meterhouse.invoicing.burn_down import Left, left_of
from meterhouse.invoicing.present import shown_at
from meterhouse.ledger import credit_grants
from meterhouse.render.credit import Balance, render_summary
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.param_errors import missing_param
from meterhouse.wire.params import Params, RequestParams, Unsupported

_EXPANDABLE = frozenset({"customer"})


class FilterParams(Params):
    """Which grants."""

    type: Literal["applicability_scope", "credit_grant"]
    applicability_scope: common.ScopeParams | None = None
    credit_grant: str | None = None


class Summary(RequestParams):
    """The parameters of the summary."""

    filter: FilterParams
    customer: str | None = None
    customer_account: Unsupported | None = None


class _Asked(NamedTuple):
    """Whose credit is asked for and when, in which currencies, and which grants count."""

    customer: str
    now: int
    currencies: list[str]
    counts: Callable[[Grant], bool]


async def retrieve(call: Call) -> Answer:
    """Show what a customer has left of the grants that are asked for."""
    params = call.params(Summary)
    check_expand(params.expand, _EXPANDABLE)
    asked = await call.read(_read, call, params)
    await call.services.progress.reach(strong=call.strong)
    left = await left_of(call, call.scope, asked.customer, call.now)
    mine = [one for one in left if asked.counts(one.grant) and one.grant.effective_at <= asked.now]
    document = render_summary(
        asked.customer,
        [_balance(currency, mine) for currency in asked.currencies],
        livemode=call.scope.livemode,
        version=call.version,
    )

    def work(connection: sa.Connection) -> Answer:
        expand_members(connection, call, [document], expanded(params.expand))
        return ok(document)

    return await call.read(work)


def _read(connection: sa.Connection, call: Call, params: Summary) -> _Asked:
    customer = common.customer_asked(connection, call, params.customer)
    now = shown_at(connection, call.scope.id, customer.test_clock, call.now)
    currencies = credit_grants.currencies(connection, customer.id)
    if params.filter.type == "credit_grant":
        if params.filter.credit_grant is None:
            raise missing_param("filter[credit_grant]")
        grant = common.grant_asked(
            connection, call, params.filter.credit_grant, customer, "filter[credit_grant]"
        )
        return _Asked(customer.id, now, [grant.currency], lambda one: one.id == grant.id)
    if params.filter.applicability_scope is None:
        raise missing_param("filter[applicability_scope]")
    prices = common.prices_of(
        connection, call, params.filter.applicability_scope, "filter[applicability_scope]"
    )
    return _Asked(customer.id, now, currencies, lambda one: _applies(one, prices))


def _applies(grant: Grant, prices: tuple[str, ...]) -> bool:
    """Tell whether a grant is for one of some prices, or for all where none is named."""
    return any(map(grant.covers, prices)) if prices else not grant.prices


def _balance(currency: str, left: list[Left]) -> Balance:
    own = [one for one in left if one.grant.currency == currency]
    return Balance(
        currency, sum(one.available for one in own), sum(one.grant.balance for one in own)
    )
