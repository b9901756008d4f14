"""Accounts as Stripe shows them."""

from typing import Any

from meterhouse.ledger.accounts import Account
from meterhouse.render.instant import seconds


def render_account(one: Account) -> dict[str, Any]:
    """Render an account (https://docs.stripe.com/api/accounts/object)."""
    return {
        "id": one.id,
        "object": "account",
        "business_profile": {"name": one.name, "url": None},
        "business_type": None,
        "capabilities": {},
        "charges_enabled": False,
        "country": "US",
        "created": seconds(one.created),
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": False,
        "settings": {"dashboard": {"display_name": one.name, "timezone": "Etc/UTC"}},
        "type": "standard",
    }
