"""What a request tells of an invoice, and what the invoice becomes by it.

https://docs.stripe.com/api/invoices/create. Whatever would change an amount and is not built is
refused, never ignored.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api.v1.customers import CustomField, Shipping
from meterhouse.billing.invoice import Invoice
from meterhouse.billing.subscription import CollectionMethod
from meterhouse.metering.window import MILLISECONDS
from meterhouse.wire import invoice_errors
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.param_errors import exclusive_params, not_supported
from meterhouse.wire.params import (
    Between,
    Forgotten,
    Items,
    Length,
    Metadata,
    Params,
    RequestParams,
    Timestamp,
    Unsupported,
)

Days = Annotated[int, Between(0, limits.INVOICE_DUE_DAYS_MAX)]

# What is only given back.
_DETAILS = (
    "account_tax_ids",
    "custom_fields",
    "effective_at",
    "payment_settings",
    "rendering",
    "shipping_details",
    "statement_descriptor",
)
# What can be changed of an invoice that is finalized.
_LASTLY = frozenset({"auto_advance", "expand", "metadata"})


class AutomaticTax(Params):
    """Whether tax is computed: it is not."""

    enabled: bool
    liability: Forgotten | None = None


class Issuer(Params):
    """Whose invoice it is: the account's own."""

    type: Literal["account", "self"]
    account: str | None = None


class PaymentSettings(Params):
    """What it would be paid with."""

    default_mandate: str | UnsetType | None = None
    payment_method_types: list[str] | UnsetType | None = None


class Rendering(Params):
    """How it is printed."""

    amount_tax_display: str | UnsetType | None = None
    pdf: dict[str, str] | None = None
    template: str | None = None
    template_version: int | UnsetType | None = None


class InvoiceWrite(RequestParams):
    """The parameters of a new invoice, and of a change to one; an empty string unsets."""

    account_tax_ids: list[str] | UnsetType | None = UNSET
    application_fee_amount: Unsupported | UnsetType | None = UNSET
    auto_advance: bool | None = None
    automatic_tax: AutomaticTax | None = None
    automatically_finalizes_at: Timestamp | None = None
    collection_method: CollectionMethod | None = None
    custom_fields: Annotated[list[CustomField], Items(4)] | UnsetType | None = UNSET
    days_until_due: Days | None = None
    default_payment_method: Unsupported | UnsetType | None = UNSET
    default_source: Unsupported | UnsetType | None = UNSET
    default_tax_rates: Unsupported | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    discounts: Unsupported | UnsetType | None = UNSET
    due_date: Timestamp | None = None
    effective_at: Timestamp | UnsetType | None = UNSET
    footer: str | UnsetType | None = UNSET
    issuer: Issuer | None = None
    metadata: Metadata | UnsetType | None = UNSET
    number: Annotated[str, Length(limits.INVOICE_NUMBER_CHARS_MAX)] | UnsetType | None = UNSET
    on_behalf_of: Unsupported | UnsetType | None = UNSET
    payment_settings: PaymentSettings | UnsetType = UNSET
    rendering: Rendering | UnsetType | None = UNSET
    shipping_cost: Unsupported | UnsetType | None = UNSET
    shipping_details: Shipping | UnsetType | None = UNSET
    statement_descriptor: Annotated[str, Length(22)] | UnsetType | None = UNSET
    transfer_data: Unsupported | UnsetType | None = UNSET


def check_built(params: InvoiceWrite) -> None:
    """Refuse what would change an amount and is not built."""
    if params.automatic_tax is not None and params.automatic_tax.enabled:
        raise not_supported("automatic_tax[enabled]")
    if params.issuer is not None and params.issuer.type != "self":
        raise not_supported("issuer[type]")


def check_lasting(invoice: Invoice, params: InvoiceWrite) -> None:
    """Refuse a change of what a finalized invoice keeps."""
    for field in msgspec.structs.fields(type(params)):
        given = getattr(params, field.name)
        if given not in (None, UNSET) and field.name not in _LASTLY:
            raise invoice_errors.not_updatable(field.name)
    if params.auto_advance is not None and invoice.status != "open":
        raise invoice_errors.not_updatable("auto_advance")


def written(invoice: Invoice, params: InvoiceWrite, now: int, delay: int) -> Invoice:
    """Return what a draft becomes at `now`; its own clock is ahead of it by `delay`, if any."""
    texts = {
        name: getattr(params, name)
        for name in ("description", "footer", "number")
        if getattr(params, name) is not UNSET
    }
    changed = msgspec.structs.replace(
        invoice,
        details=_details(invoice, params),
        metadata=merge_metadata(invoice.metadata, params.metadata),
        **texts,
    )
    return _advancing(_collected(changed, params, now), params, now, delay)


def _details(invoice: Invoice, params: InvoiceWrite) -> dict[str, Any]:
    details = dict(invoice.details)
    given = msgspec.to_builtins(params)
    for name in _DETAILS:
        if name in given:
            details.pop(name, None)
        if given.get(name) is not None:
            details[name] = given[name]
    if "payment_settings" in given:
        details["payment_settings"] |= {"payment_method_options": None}
    return details


def _collected(invoice: Invoice, params: InvoiceWrite, now: int) -> Invoice:
    """Return an invoice that is collected as is wished, and is due when it says."""
    collection = params.collection_method or invoice.collection
    given = [name for name in ("days_until_due", "due_date") if getattr(params, name) is not None]
    if len(given) > 1:
        raise exclusive_params(*given)
    if collection == "charge_automatically":
        if given:
            raise invoice_errors.due_date_of_charge(given[0])
        return msgspec.structs.replace(invoice, collection=collection, due_date=None)
    due_date = invoice.due_date
    if params.days_until_due is not None:
        due_date = invoice.created + params.days_until_due * MILLISECONDS["day"]
    elif params.due_date is not None:
        due_date = params.due_date * 1000
        if due_date <= now:
            raise invoice_errors.not_in_future("due_date")
    if due_date is None:
        raise invoice_errors.no_due_date()
    return msgspec.structs.replace(invoice, collection=collection, due_date=due_date)


def _advancing(invoice: Invoice, params: InvoiceWrite, now: int, delay: int) -> Invoice:
    """Return an invoice that is finalized of itself when that is wished, or never."""
    details = dict(invoice.details)
    chosen = params.automatically_finalizes_at
    if chosen is not None:
        if params.auto_advance is False:
            raise exclusive_params("automatically_finalizes_at", "auto_advance")
        finalizes_at: int | None = chosen * 1000
        if chosen * 1000 <= now:
            raise invoice_errors.not_in_future("automatically_finalizes_at")
        if chosen * 1000 > now + limits.INVOICE_FINALIZATION_DAYS_MAX * MILLISECONDS["day"]:
            raise invoice_errors.too_far_ahead("automatically_finalizes_at")
        details["automatically_finalizes_at"] = chosen
        advancing = True
    elif params.auto_advance is None or params.auto_advance == invoice.auto_advance:
        return invoice
    else:
        details.pop("automatically_finalizes_at", None)
        advancing = params.auto_advance
        finalizes_at = invoice.created + delay if advancing else None
    return msgspec.structs.replace(
        invoice, auto_advance=advancing, finalizes_at=finalizes_at, details=details
    )
