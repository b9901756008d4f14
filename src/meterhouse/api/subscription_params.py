"""The parameters of subscriptions and of their items (https://docs.stripe.com/api/subscriptions).

What would change an amount and is not built is refused, never ignored; what changes none, such as
how somebody would pay, is taken and shown.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api.thresholds import ItemThresholdParams, ThresholdParams
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import CollectionMethod
from meterhouse.metering.window import MILLISECONDS
from meterhouse.render.subscription import (
    CANCELLATION_DETAILS,
    INVOICE_SETTINGS,
    PAYMENT_SETTINGS,
)
from meterhouse.wire import param_errors, subscription_errors
from meterhouse.wire.params import (
    Between,
    Forgotten,
    Items,
    Length,
    Metadata,
    Params,
    RequestParams,
    Typed,
    Unsupported,
    read_timestamp,
)

ProrationBehavior = Literal["always_invoice", "create_prorations", "none"]
PaymentBehavior = Literal[
    "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
]
Refused = Unsupported | UnsetType | None
Quantity = Annotated[int, Between(0, limits.SUBSCRIPTION_QUANTITY_LIMIT)]
Text = Annotated[str, Length(limits.SUBSCRIPTION_DESCRIPTION_CHARS_MAX)]


class NewItem(Params):
    """An item to add: a price, and how many of it where it is not metered."""

    billing_thresholds: ItemThresholdParams | UnsetType | None = UNSET
    current_trial: Refused = UNSET
    discounts: Refused = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    plan: str | None = None
    price: str | None = None
    price_data: Refused = UNSET
    quantity: Quantity | None = None
    tax_rates: Refused = UNSET


class ItemChange(NewItem):
    """An item to change or to remove, or to add where it has no id."""

    clear_usage: bool | None = None
    deleted: bool = False
    id: str | None = None


class Anchor(Typed):
    """Whether periods begin anew."""

    type: Literal["now", "unchanged"]


class AutomaticTax(Params):
    """Whether tax is added: never."""

    enabled: bool
    liability: Forgotten | None = None


class CustomField(Params):
    """A line of the head of invoices."""

    name: Annotated[str, Length(40)]
    value: Annotated[str, Length(140)]


class InvoiceSettings(Params):
    """What invoices say."""

    account_tax_ids: Forgotten | UnsetType | None = UNSET
    custom_fields: Annotated[list[CustomField], Items(4)] | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    footer: str | UnsetType | None = UNSET
    issuer: Forgotten | None = None


class PaymentSettings(Params):
    """How somebody would pay; it is only shown."""

    payment_method_options: Forgotten | None = None
    payment_method_types: list[str] | UnsetType | None = UNSET
    save_default_payment_method: Literal["off", "on_subscription"] | None = None


class EndBehavior(Params):
    """What happens when a trial ends."""

    billing_cycle_anchor: Literal["now", "unchanged"] | None = None
    missing_payment_method: Literal["cancel", "create_invoice", "pause"] | None = None


class TrialSettings(Params):
    """What a trial is like."""

    end_behavior: EndBehavior


class CancellationDetails(Params):
    """Why somebody cancels."""

    comment: str | UnsetType | None = UNSET
    feedback: (
        Literal[
            "customer_service",
            "low_quality",
            "missing_features",
            "other",
            "switched_service",
            "too_complex",
            "too_expensive",
            "unused",
        ]
        | UnsetType
        | None
    ) = UNSET
    feedback_option: str | UnsetType | None = UNSET


class Flexible(Params):
    """How the mode deals with discounts."""

    proration_discounts: Literal["included", "itemized"] = "included"


class SubscriptionWrite(RequestParams, kw_only=True):
    """The parameters that a new subscription and a change to one have in common."""

    add_invoice_items: Refused = UNSET
    application_fee_percent: Refused = UNSET
    automatic_tax: AutomaticTax | None = None
    billing_schedules: Refused = UNSET
    billing_thresholds: ThresholdParams | UnsetType | None = UNSET
    cancel_at: str | UnsetType | None = UNSET
    cancel_at_period_end: bool | None = None
    collection_method: CollectionMethod | None = None
    coupon: Refused = UNSET
    days_until_due: Annotated[int, Between(0, limits.INVOICE_DUE_DAYS_MAX)] | None = None
    default_payment_method: Refused = UNSET
    default_source: Refused = UNSET
    default_tax_rates: Refused = UNSET
    description: Text | UnsetType | None = UNSET
    discounts: Refused = UNSET
    invoice_settings: InvoiceSettings | None = None
    metadata: Metadata | UnsetType | None = UNSET
    off_session: bool | None = None
    on_behalf_of: Refused = UNSET
    payment_behavior: PaymentBehavior | None = None
    payment_settings: PaymentSettings | None = None
    pending_invoice_item_interval: Refused = UNSET
    promotion_code: Refused = UNSET
    proration_behavior: ProrationBehavior = "create_prorations"
    transfer_data: Refused = UNSET
    trial_end: str | None = None
    trial_from_plan: bool = False
    trial_settings: TrialSettings | None = None

    def __post_init__(self) -> None:
        """Refuse what would change an amount and is not built."""
        if self.automatic_tax is not None and self.automatic_tax.enabled:
            raise param_errors.not_supported("automatic_tax[enabled]")
        ends = self.trial_settings and self.trial_settings.end_behavior
        if ends and ends.billing_cycle_anchor == "unchanged":
            raise param_errors.not_supported("trial_settings[end_behavior][billing_cycle_anchor]")
        if isinstance(self.cancel_at, str) and self.cancel_at_period_end:
            raise param_errors.exclusive_params("cancel_at", "cancel_at_period_end")


def details_of(params: SubscriptionWrite, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that are only given back, as a request changes them."""
    details = dict(before)
    if params.description is None:
        details.pop("description", None)
    elif params.description is not UNSET:
        details["description"] = params.description
    given: dict[str, Any] = msgspec.to_builtins(params)
    for name, defaults in (
        ("invoice_settings", INVOICE_SETTINGS),
        ("payment_settings", PAYMENT_SETTINGS),
    ):
        if given[name] is not None:
            known = {key: value for key, value in given[name].items() if key in defaults}
            known.pop("issuer", None)
            details[name] = {**defaults, **details.get(name, {}), **known}
            if details[name].get("save_default_payment_method", "") is None:
                details[name]["save_default_payment_method"] = "off"
    if params.trial_settings is not None:
        behavior = params.trial_settings.end_behavior.missing_payment_method or "create_invoice"
        details["trial_settings"] = {"end_behavior": {"missing_payment_method": behavior}}
    return details


def cancellation_of(
    before: Mapping[str, Any], params: CancellationDetails | None, **reason: str | None
) -> dict[str, Any]:
    """Return details whose `cancellation_details` are as a request changes them.

    Their reason is changed, too, where one is given.
    """
    given = {**({} if params is None else msgspec.to_builtins(params)), **reason}
    if not given:
        return dict(before)
    known = before.get("cancellation_details", CANCELLATION_DETAILS)
    return {**before, "cancellation_details": {**known, **given}}


def collected(
    params: SubscriptionWrite, method: CollectionMethod, days: int | None
) -> tuple[CollectionMethod, int | None]:
    """Return how invoices are collected, and in how many days they are due."""
    method = params.collection_method or method
    if method == "charge_automatically":
        if params.days_until_due is not None:
            raise subscription_errors.needless_days_until_due()
        return method, None
    days = days if params.days_until_due is None else params.days_until_due
    if days is None:
        raise subscription_errors.no_days_until_due()
    return method, days


def read_instant(text: str, param: str) -> int:
    """Return the instant, in milliseconds, that a request tells in unix seconds."""
    return read_timestamp(param, text) * 1000


def trial_until(text: str | None, now: int) -> Period | None:
    """Return a trial from now on, until an instant that is told; None where it is over now."""
    if text is None or text == "now":
        return None
    end = read_instant(text, "trial_end")
    if end <= now:
        raise subscription_errors.past_instant("trial_end", end // 1000)
    if end - now > limits.PRICE_TRIAL_DAYS_MAX * MILLISECONDS["day"]:
        raise subscription_errors.trial_too_long("trial_end")
    return Period(now, end)
