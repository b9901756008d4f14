"""Invoices, their lines and invoice items as Stripe shows them, at every version.

Before 2025-03-31.basil an invoice and its lines had another shape: the subscription and the price
stood in them, where there are `parent` and `pricing` now. Of what came one by one since then, a
version shows what it had.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from meterhouse.billing.invoice import Invoice, InvoiceItem, Line
from meterhouse.billing.money import print_decimal, rounded
from meterhouse.billing.period import Period
from meterhouse.billing.price import Price
from meterhouse.limits import INVOICE_FIRST_LINES
from meterhouse.render.catalog import render_plan, render_price
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.envelope import doc_url
from meterhouse.wire.page import list_object
from meterhouse.wire.version import BASIL, DEFAULT_VERSION, ApiVersion

# Members that only newer versions have, and since when.
_SINCE: Mapping[str, date] = {
    "pretax_credit_amounts": date(2024, 12, 18),
    "total_pretax_credit_amounts": date(2024, 12, 18),
    "subtotal": date(2025, 12, 15),  # of a line
    "customer_account": date(2026, 1, 28),
    "quantity_decimal": date(2026, 3, 25),
    "amount_paid_off_stripe": date(2026, 5, 27),
    "status_details": date(2026, 9, 30),
}
_NEWEST = max(_SINCE.values())
# What nothing here fills, and what `Invoice.details` may.
_INVOICE: Mapping[str, Any] = {
    "account_country": "US",
    "account_name": None,
    "account_tax_ids": None,
    "amount_shipping": 0,
    "application": None,
    "automatic_tax": {
        "disabled_reason": None,
        "enabled": False,
        "liability": None,
        "provider": None,
        "status": None,
    },
    "custom_fields": None,
    "customer_address": None,
    "customer_email": None,
    "customer_name": None,
    "customer_phone": None,
    "customer_shipping": None,
    "customer_tax_exempt": "none",
    "customer_tax_ids": [],
    "default_payment_method": None,
    "default_source": None,
    "default_tax_rates": [],
    "discounts": [],
    "from_invoice": None,
    "issuer": {"type": "self"},
    "last_finalization_error": None,
    "latest_revision": None,
    "on_behalf_of": None,
    "payment_settings": {
        "default_mandate": None,
        "payment_method_options": None,
        "payment_method_types": None,
    },
    "post_payment_credit_notes_amount": 0,
    "pre_payment_credit_notes_amount": 0,
    "receipt_number": None,
    "rendering": None,
    "shipping_cost": None,
    "shipping_details": None,
    "statement_descriptor": None,
    "total_discount_amounts": [],
}
_OF_BASIL: Mapping[str, Any] = {
    "amount_overpaid": 0,
    "customer_account": None,
    "status_details": None,
    "total_taxes": [],
}
_BEFORE_BASIL: Mapping[str, Any] = {
    "application_fee_amount": None,
    "charge": None,
    "discount": None,
    "payment_intent": None,
    "quote": None,
    "tax": None,
    "total_tax_amounts": [],
    "transfer_data": None,
}
_PRORATION_DETAILS: Mapping[str, Any] = {"credited_items": None}

Prices = Mapping[str, Price]


def render_invoice(
    one: Invoice,
    lines: Sequence[Line],
    *,
    livemode: bool,
    version: ApiVersion = DEFAULT_VERSION,
    prices: Prices | None = None,
) -> dict[str, Any]:
    """Render an invoice (https://docs.stripe.com/api/invoices/object).

    `lines` are all that it has; it shows the first of them. `prices` are those that they name: an
    old version shows them.
    """
    first = [
        render_line(line, one, livemode=livemode, version=version, prices=prices)
        for line in lines[:INVOICE_FIRST_LINES]
    ]
    url = f"/v1/invoices/{one.id}/lines"
    document = {
        "id": one.id,
        "object": "invoice",
        **_INVOICE,
        **{name: value for name, value in one.details.items() if name in _INVOICE},
        **_amounts(one),
        **_advance(one),
        **_pages(one),
        "billing_reason": one.reason,
        "collection_method": one.collection,
        "created": seconds(one.created),
        "currency": one.currency,
        "customer": one.customer,
        "description": one.description,
        "due_date": seconds_or_none(one.due_date),
        "effective_at": one.details.get("effective_at", seconds_or_none(one.finalized_at)),
        "footer": one.footer,
        "lines": list_object(url, first, len(lines) > len(first)) | {"total_count": len(lines)},
        "livemode": livemode,
        "metadata": one.metadata,
        "number": one.number,
        "period_end": seconds(one.period.end),
        "period_start": seconds(one.period.start),
        "status": one.status,
        "status_transitions": {
            "finalized_at": seconds_or_none(one.finalized_at),
            "marked_uncollectible_at": seconds_or_none(one.marked_uncollectible_at),
            "paid_at": seconds_or_none(one.paid_at),
            "voided_at": seconds_or_none(one.voided_at),
        },
        "test_clock": one.test_clock,
        "total_pretax_credit_amounts": [credit for line in lines for credit in _credits(line)],
        "webhooks_delivered_at": seconds(one.created),
    }
    if "threshold_reason" in one.details:
        document["threshold_reason"] = one.details["threshold_reason"]
    shape = _invoice_of_basil(one) if version.date >= BASIL else _invoice_before_basil(one)
    return _shown_at(version, document | shape, but="subtotal")


def render_line(
    line: Line,
    invoice: Invoice,
    *,
    livemode: bool,
    version: ApiVersion = DEFAULT_VERSION,
    prices: Prices | None = None,
) -> dict[str, Any]:
    """Render a line (https://docs.stripe.com/api/invoice-line-item/object)."""
    document = {
        "id": line.id,
        "object": "line_item",
        "amount": line.amount,
        "currency": invoice.currency,
        "description": line.description,
        "discount_amounts": [],
        "discountable": not line.proration,
        "discounts": [],
        "invoice": invoice.id,
        "livemode": livemode,
        "metadata": line.metadata,
        "period": _period(line.period),
        "pretax_credit_amounts": _credits(line),
        "quantity": int(line.quantity),
        "subscription": line.subscription,
    }
    if version.date < BASIL:
        price = prices.get(line.price) if prices and line.price else None
        return _shown_at(version, document | _line_before_basil(line, price, livemode=livemode))
    document |= {
        "parent": _parent_of_line(line),
        "pricing": _pricing(line.price, line.product, line.unit_amount),
        "quantity_decimal": print_decimal(line.quantity),
        "subtotal": line.amount,
        "taxes": [],
    }
    return _shown_at(version, document)


def render_invoice_item(
    one: InvoiceItem,
    *,
    livemode: bool,
    version: ApiVersion = DEFAULT_VERSION,
    prices: Prices | None = None,
) -> dict[str, Any]:
    """Render an invoice item (https://docs.stripe.com/api/invoiceitems/object)."""
    price = prices.get(one.price) if prices and one.price else None
    document: dict[str, Any] = {
        "id": one.id,
        "object": "invoiceitem",
        "amount": one.amount,
        "currency": one.currency,
        "customer": one.customer,
        "customer_account": None,
        "date": seconds(one.created),
        "description": one.description,
        "discountable": True,
        "discounts": [],
        "invoice": one.invoice,
        "livemode": livemode,
        "metadata": one.metadata,
        "period": _period(one.period),
        "proration": False,
        "quantity": int(one.quantity),
        "tax_rates": [],
        "test_clock": one.test_clock,
    }
    if version.date < BASIL:
        document |= {
            **_inline(price, livemode=livemode),
            "subscription": one.subscription,
            **_unit_amount(one.unit_amount),
        }
        if one.subscription_item is not None:
            document["subscription_item"] = one.subscription_item
        return _shown_at(version, document)
    document |= {
        "net_amount": one.amount,
        "parent": _parent_of_item(one),
        "pricing": _pricing(one.price, price.product if price else None, one.unit_amount),
        "proration_details": None,
        "quantity_decimal": print_decimal(one.quantity),
    }
    return _shown_at(version, document)


def _credits(line: Line) -> list[dict[str, Any]]:
    """Tell what credits pay of a line; a draft is shown before there is a transaction of it."""
    return [
        {
            "amount": credit.amount,
            "credit_balance_transaction": credit.transaction,
            "type": "credit_balance_transaction",
        }
        for credit in line.credits
    ]


def _amounts(one: Invoice) -> dict[str, Any]:
    return {
        "amount_due": one.amount_due,
        "amount_paid": one.amount_paid,
        "amount_paid_off_stripe": one.amount_paid_off_stripe,
        "amount_remaining": one.amount_due - one.amount_paid,
        "ending_balance": one.ending_balance,
        "starting_balance": one.starting_balance,
        "subtotal": one.subtotal,
        "subtotal_excluding_tax": one.subtotal,
        "total": one.total,
        "total_excluding_tax": one.total,
    }


def _advance(one: Invoice) -> dict[str, Any]:
    """Tell what happens of itself.

    Stripe says of a draft that it is finalized a second after that, unless somebody chose when.
    """
    finalizes = attempts = None
    if one.status == "draft" and one.finalizes_at is not None:
        chosen = one.details.get("automatically_finalizes_at")
        finalizes = chosen or seconds(one.finalizes_at) + 1
        if one.collection == "charge_automatically":
            attempts = seconds(one.finalizes_at)
    return {
        "attempt_count": 0,
        "attempted": one.attempted,
        "auto_advance": one.auto_advance,
        "automatically_finalizes_at": finalizes,
        "next_payment_attempt": attempts,
    }


def _pages(one: Invoice) -> dict[str, Any]:
    """Tell where people can look at it, once it is finalized."""
    page = one.details.get("page")
    return {"hosted_invoice_url": page, "invoice_pdf": page and f"{page}/pdf"}


def _invoice_of_basil(one: Invoice) -> dict[str, Any]:
    parent = None
    if one.subscription is not None:
        parent = {
            "quote_details": None,
            "subscription_details": {
                "metadata": _subscription_metadata(one),
                "subscription": one.subscription,
            },
            "type": "subscription_details",
        }
    return {**_OF_BASIL, "parent": parent}


def _invoice_before_basil(one: Invoice) -> dict[str, Any]:
    return {
        **_BEFORE_BASIL,
        "paid": one.status == "paid",
        "paid_out_of_band": one.amount_paid_off_stripe > 0,
        "subscription": one.subscription,
        "subscription_details": {
            "metadata": None if one.subscription is None else _subscription_metadata(one)
        },
    }


def _subscription_metadata(one: Invoice) -> dict[str, str]:
    """Return the metadata that the subscription had when the invoice was made."""
    metadata: dict[str, str] = one.details.get("subscription_metadata", {})
    return metadata


def _parent_of_line(line: Line) -> dict[str, Any]:
    details = {
        "invoice_item": line.invoice_item,
        "proration": line.proration,
        "proration_details": _PRORATION_DETAILS,
        "subscription": line.subscription,
    }
    if line.subscription_item is None:
        return {
            "invoice_item_details": details,
            "subscription_item_details": None,
            "type": "invoice_item_details",
        }
    return {
        "invoice_item_details": None,
        "subscription_item_details": details | {"subscription_item": line.subscription_item},
        "type": "subscription_item_details",
    }


def _parent_of_item(one: InvoiceItem) -> dict[str, Any] | None:
    if one.subscription is None:
        return None
    details = {"subscription": one.subscription, "subscription_item": one.subscription_item}
    return {"subscription_details": details, "type": "subscription_details"}


def _pricing(price: str | None, product: str | None, unit_amount: Decimal) -> dict[str, Any]:
    return {
        "price_details": price and {"price": price, "product": product},
        "type": "price_details",
        "unit_amount_decimal": print_decimal(unit_amount),
    }


def _line_before_basil(line: Line, price: Price | None, *, livemode: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {
        **_inline(price, livemode=livemode),
        "amount_excluding_tax": line.amount,
        "proration": line.proration,
        "proration_details": _PRORATION_DETAILS,
        "tax_amounts": [],
        "tax_rates": [],
        "type": "invoiceitem" if line.invoice_item is not None else "subscription",
        "unit_amount_excluding_tax": _unit_amount_excluding_tax(line),
    }
    for name in ("invoice_item", "subscription_item"):
        if getattr(line, name) is not None:
            shape[name] = getattr(line, name)
    return shape


def render_finalization_error(code: str | None, message: str) -> dict[str, Any]:
    """Render why a draft cannot be finalized, as its `last_finalization_error`."""
    error = {"message": message, "type": "invalid_request_error" if code else "api_error"}
    return error | ({"code": code, "doc_url": doc_url(code)} if code else {})


def _unit_amount_excluding_tax(line: Line) -> str | None:
    """Return what a unit came to, in whole minor units; nothing did where there is none."""
    return str(rounded(Decimal(line.amount) / line.quantity)) if line.quantity else None


def _inline(price: Price | None, *, livemode: bool) -> dict[str, Any]:
    """Show a price in what names it, and as the plan that it was before there were prices."""
    if price is None:
        return {"plan": None, "price": None}
    plan = render_plan(price, livemode=livemode) if price.recurring else None
    return {"plan": plan, "price": render_price(price, livemode=livemode)}


def _unit_amount(amount: Decimal) -> dict[str, Any]:
    whole = int(amount) if amount == amount.to_integral_value() else None
    return {"unit_amount": whole, "unit_amount_decimal": print_decimal(amount)}


def _period(period: Period) -> dict[str, int]:
    return {"end": seconds(period.end), "start": seconds(period.start)}


def _shown_at(version: ApiVersion, document: dict[str, Any], but: str = "") -> dict[str, Any]:
    """Leave out what a version did not have; `but` is a member that it had here."""
    if version.date >= _NEWEST:
        return document
    late = {name for name, since in _SINCE.items() if version.date < since and name != but}
    return {name: value for name, value in document.items() if name not in late}
