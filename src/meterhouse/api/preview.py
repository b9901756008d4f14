"""Previews of invoices, as a request tells them: whose it would be, and what somebody imagines.

https://docs.stripe.com/api/invoices/create_preview. What would change an amount and is not built
is refused; what matters only where taxes are reckoned is not looked at.
"""

from typing import Annotated, Literal

from msgspec import UNSET, UnsetType, field

from meterhouse import limits
from meterhouse.api.call import Call
from meterhouse.api.invoice_item import ItemWrite
from meterhouse.api.price import Amount, RecurringParams
from meterhouse.api.subscription_params import ItemChange, ProrationBehavior, Refused
from meterhouse.api.subscription_start import Mode
from meterhouse.wire.form import Form, parse_form
from meterhouse.wire.page import PageParams
from meterhouse.wire.param_errors import not_supported
from meterhouse.wire.params import (
    Forgotten,
    Items,
    Metadata,
    Params,
    RequestParams,
    Timestamp,
    Typed,
    read_params,
)

_PAGE = ("ending_before", "limit", "starting_after")
_FLAT = "subscription_"  # what the details of a subscription began with in old versions


class PriceData(Params):
    """A price that is only imagined, of a product that there is."""

    currency: str
    product: str
    recurring: RecurringParams | None = None
    tax_behavior: Forgotten | None = None
    unit_amount: Amount | None = None
    unit_amount_decimal: str | None = None


class ItemParams(ItemChange):
    """An item that a subscription has, by its `id`, or a new one, whose price may be imagined."""

    price_data: PriceData | None = None  # type: ignore[assignment]  # which only previews take


class AnchorParams(Typed):
    """From when on periods are counted; an instant may stand in the place of the type."""

    type: str
    timestamp: Timestamp | None = None


class DetailsParams(Params):
    """What is imagined of a subscription."""

    billing_cycle_anchor: AnchorParams | None = None
    billing_mode: Mode | None = None
    billing_schedules: Refused = UNSET
    cancel_at: str | UnsetType | None = UNSET
    cancel_at_period_end: bool | None = None
    cancel_now: bool = False
    default_tax_rates: Refused = UNSET
    items: Annotated[list[ItemParams], Items(2 * limits.SUBSCRIPTION_ITEMS_MAX)] = field(
        default_factory=list
    )
    metadata: Metadata | UnsetType | None = UNSET
    pause: Refused = None
    proration_behavior: ProrationBehavior = "create_prorations"
    proration_date: Timestamp | None = None
    resume_at: Literal["now"] | None = None
    start_date: Timestamp | None = None
    trial_end: str | None = None
    trial_from_plan: bool = False


class InvoiceItemParams(ItemWrite):
    """What else is to be on it: a pending item, by its `invoiceitem`, changed; or a new one."""

    currency: str | None = None
    invoiceitem: str | None = None


class TaxParams(Params):
    """Whether taxes are reckoned, which they are not."""

    enabled: bool
    liability: Forgotten | None = None


class IssuerParams(Params):
    """Whose invoice it is: the account's own."""

    type: Literal["account", "self"]
    account: Forgotten | None = None


class PreviewParams(RequestParams):
    """The parameters of a preview."""

    automatic_tax: TaxParams | None = None
    coupon: Refused = None
    currency: str | None = None
    customer: str | None = None
    customer_account: Refused = None
    customer_details: Forgotten | None = None
    discounts: Refused = UNSET
    invoice_items: Annotated[list[InvoiceItemParams], Items(limits.PREVIEW_INVOICE_ITEMS_MAX)] = (
        field(default_factory=list)
    )
    issuer: IssuerParams | None = None
    on_behalf_of: Refused = UNSET
    preview_mode: Literal["next", "recurring"] = "next"
    schedule: Refused = None
    schedule_details: Refused = None
    subscription: str | None = None
    subscription_details: DetailsParams | None = None


def read_preview(call: Call) -> PreviewParams:
    """Read what is to be previewed."""
    return _checked(call.params(PreviewParams))


def read_upcoming(call: Call) -> PreviewParams:
    """Read it as old versions asked, which wrote `subscription_items` for what is in details."""
    return _upcoming(parse_form(call.parameters))


def read_upcoming_lines(call: Call) -> tuple[PreviewParams, PageParams]:
    """Read it together with the page of its lines that is asked for."""
    tree = parse_form(call.parameters)
    page = {name: tree.pop(name) for name in _PAGE if name in tree}
    return _upcoming(tree), read_params(PageParams, page)


def _upcoming(tree: Form) -> PreviewParams:
    sent = tree.pop("subscription_details", {})
    details = dict(sent) if isinstance(sent, dict) else {}
    for name in [name for name in tree if name.startswith(_FLAT)]:
        details[name.removeprefix(_FLAT)] = tree.pop(name)
    if details:
        tree["subscription_details"] = details
    return _checked(read_params(PreviewParams, tree))


def _checked(params: PreviewParams) -> PreviewParams:
    """Refuse what depends on a value whether it is built."""
    if params.automatic_tax is not None and params.automatic_tax.enabled:
        raise not_supported("automatic_tax[enabled]")
    if params.issuer is not None and params.issuer.type != "self":
        raise not_supported("issuer[type]")
    return params
