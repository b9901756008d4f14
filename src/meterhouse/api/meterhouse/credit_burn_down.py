"""`/meterhouse/v1/credit_burn_down`: what open periods use of a customer's credits, and until when.

Stripe tells what is left once an invoice is finalized, or what drafts will take; what a period that
goes on has used by now, it does not.
"""

from typing import Any

from meterhouse.api import credit as common
from meterhouse.api.call import Answer, Call
from meterhouse.billing.burn_down import Pace
from meterhouse.invoicing.burn_down import Use, burn_down
from meterhouse.invoicing.turn import Terms
from meterhouse.metering.window import MILLISECONDS
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.body import to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.params import RequestParams


class BurnDownParams(RequestParams):
    """Whose credits."""

    customer: str | None = None


async def retrieve(call: Call) -> Answer:
    """Show each grant of a customer of which something is left, in the order in which they pay."""
    params = call.params(BurnDownParams)
    check_expand(params.expand)
    customer = await call.read(common.customer_asked, call, params.customer)
    settled = await call.services.progress.reach(strong=call.strong)
    terms = Terms.of(call.services.config)
    [found] = await burn_down(call, call.scope, [customer], terms, call.now)
    document = {
        "object": "meterhouse.credit_burn_down",
        "as_of": seconds(found.as_of),
        "customer": customer.id,
        "grants": [_use(one) for one in found.uses],
        "livemode": call.scope.livemode,
        "pace": [_pace(one) for one in found.paces],
    }
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, to_json(document), headers)


def _use(one: Use) -> dict[str, Any]:
    grant = one.grant
    return {
        "credit_grant": grant.id,
        "name": grant.name,
        "amount": grant.amount,
        "currency": grant.currency,
        "drafts": one.drafts,
        "effective_at": seconds(grant.effective_at),
        "expires_at": seconds_or_none(grant.expires_at),
        "ledger_balance": grant.balance,
        "open_periods": one.periods,
        "remaining": one.remaining,
        "used_up_at": seconds_or_none(one.used_up_at),
    }


def _pace(one: Pace) -> dict[str, Any]:
    """Show what a price comes to; in a day, to a whole minor unit."""
    return {
        "amount": one.amount,
        "amount_per_day": round(one.rate * MILLISECONDS["day"]),
        "currency": one.currency,
        "price": one.price,
        "since": seconds(one.since),
    }
