"""Credit grants, their transactions and their balances as Stripe shows them."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from meterhouse.billing.credit import Grant, Transaction
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.version import DEFAULT_VERSION, ApiVersion

# Members that only newer versions have, and since when.
_SINCE: Mapping[str, date] = {
    "priority": date(2025, 2, 24),
    "customer_account": date(2026, 1, 28),
}


class Balance(NamedTuple):
    """What a customer has in a currency: without what drafts would take, and with it."""

    currency: str
    available: int
    ledger: int


def render_grant(
    one: Grant, *, livemode: bool, version: ApiVersion = DEFAULT_VERSION
) -> dict[str, Any]:
    """Render a grant (https://docs.stripe.com/api/billing/credit-grant/object)."""
    scope: dict[str, Any] = {"price_type": "metered"}
    if one.prices:
        scope = {"prices": [{"id": price} for price in one.prices]}
    return _shown_at(
        version,
        {
            "id": one.id,
            "object": "billing.credit_grant",
            "amount": _money(one.currency, one.amount),
            "applicability_config": {"scope": scope},
            "category": one.category,
            "created": seconds(one.created),
            "customer": one.customer,
            "customer_account": None,
            "effective_at": seconds(one.effective_at),
            "expires_at": seconds_or_none(one.expires_at),
            "livemode": livemode,
            "metadata": one.metadata,
            "name": one.name,
            "priority": one.priority,
            "test_clock": one.test_clock,
            "updated": seconds(one.updated),
            "voided_at": seconds_or_none(one.voided_at),
        },
    )


def render_transaction(one: Transaction, *, livemode: bool) -> dict[str, Any]:
    """Render a transaction.

    https://docs.stripe.com/api/billing/credit-balance-transaction/object
    """
    details: dict[str, Any] = {"amount": _money(one.currency, abs(one.amount))}
    if one.amount > 0:
        details["credits_application_invoice_voided"] = None
    else:
        details["credits_applied"] = None
    if one.invoice is not None:
        details[one.kind] = {"invoice": one.invoice, "invoice_line_item": one.line}
    details["type"] = one.kind
    return {
        "id": one.id,
        "object": "billing.credit_balance_transaction",
        "created": seconds(one.created),
        "credit": details if one.amount > 0 else None,
        "credit_grant": one.grant,
        "debit": details if one.amount < 0 else None,
        "effective_at": seconds(one.effective_at),
        "livemode": livemode,
        "test_clock": one.test_clock,
        "type": "credit" if one.amount > 0 else "debit",
    }


def render_summary(
    customer: str,
    balances: Iterable[Balance],
    *,
    livemode: bool,
    version: ApiVersion = DEFAULT_VERSION,
) -> dict[str, Any]:
    """Render balances (https://docs.stripe.com/api/billing/credit-balance-summary/object)."""
    return _shown_at(
        version,
        {
            "object": "billing.credit_balance_summary",
            "balances": [
                {
                    "available_balance": _money(one.currency, one.available),
                    "ledger_balance": _money(one.currency, one.ledger),
                }
                for one in balances
            ],
            "customer": customer,
            "customer_account": None,
            "livemode": livemode,
        },
    )


def _money(currency: str, value: int) -> dict[str, Any]:
    return {"monetary": {"currency": currency, "value": value}, "type": "monetary"}


def _shown_at(version: ApiVersion, document: dict[str, Any]) -> dict[str, Any]:
    late = {name for name, since in _SINCE.items() if version.date < since}
    return {name: value for name, value in document.items() if name not in late}
