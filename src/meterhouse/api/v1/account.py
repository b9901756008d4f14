"""`/v1/account` (https://docs.stripe.com/api/accounts/object)."""

from typing import Any

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.render import seconds
from meterhouse.ledger import accounts
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.params import RequestParams


async def retrieve(call: Call) -> Answer:
    """Show the account that the key, or the header `Stripe-Account`, stands for."""
    check_expand(call.params(RequestParams).expand)
    account = await call.house.stores.read(accounts.find_account, call.scope.account)
    if account is None:
        raise envelope.no_such("account", call.scope.account)
    document: dict[str, Any] = {
        "id": account.id,
        "object": "account",
        "business_profile": {"name": account.name, "url": None},
        "business_type": None,
        "capabilities": {},
        "charges_enabled": False,
        "country": "US",
        "created": seconds(account.created),
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": False,
        "settings": {"dashboard": {"display_name": account.name, "timezone": "Etc/UTC"}},
        "type": "standard",
    }
    return ok(document)
