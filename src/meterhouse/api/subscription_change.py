"""What becomes of a subscription as a request changes, cancels, pauses, resumes or migrates it.

https://docs.stripe.com/api/subscriptions. What was used under a price until it changes, or until it
ends, is billed as the billing mode says (https://docs.stripe.com/billing/subscriptions/billing-mode).
"""

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from meterhouse import limits
from meterhouse.api.call import Call
from meterhouse.api.subscribed import Told, changed_items, is_licensed, recurrences
from meterhouse.api.subscription import (
    prices_of,
    whole_second,
)
from meterhouse.api.subscription_ends import REQUESTED, ending, moved_end
from meterhouse.api.subscription_params import (
    Anchor,
    CancellationDetails,
    Flexible,
    ItemChange,
    ProrationBehavior,
    Refused,
    SubscriptionWrite,
    cancellation_of,
    collected,
    details_of,
    trial_until,
)
from meterhouse.api.thresholds import threshold_of
from meterhouse.billing import change
from meterhouse.billing.change import Change, Recurrences
from meterhouse.billing.subscription import Subscription
from meterhouse.invoicing.turn import Turn
from meterhouse.wire import envelope, param_errors, subscription_errors
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.params import Items, Params, RequestParams, Timestamp

# Members that may be changed of what is over.
_OF_CANCELED = frozenset({"cancellation_details", "expand", "metadata", "proration_behavior"})


class PauseCollection(Params):
    """What becomes of invoices while nothing is collected."""

    behavior: Literal["keep_as_draft", "mark_uncollectible", "void"]
    resumes_at: Timestamp | None = None


class SubscriptionUpdate(SubscriptionWrite):
    """What can be changed of a subscription."""

    billing_cycle_anchor: Anchor | None = None
    cancellation_details: CancellationDetails | None = None
    items: Annotated[list[ItemChange], Items(2 * limits.SUBSCRIPTION_ITEMS_MAX)] | None = None
    pause_collection: PauseCollection | UnsetType | None = UNSET
    proration_date: Refused = UNSET


class SubscriptionCancel(RequestParams):
    """How a subscription ends now."""

    cancellation_details: CancellationDetails | None = None
    invoice_now: bool = False
    prorate: bool = False


class Kind(Params):
    """One of the ways to do something."""

    type: Literal["item_current_period_start", "none", "now"]


class BillFor(Params):
    """What is billed when a subscription pauses."""

    outstanding_usage_through: Kind | None = None
    unused_time_from: Kind | None = None


class SubscriptionPause(RequestParams):
    """How a subscription pauses."""

    bill_for: BillFor | None = None
    invoicing_behavior: Literal["invoice", "pending_invoice_item"] = "pending_invoice_item"
    type: Literal["subscription"] = "subscription"


class SubscriptionResume(RequestParams):
    """How a subscription goes on."""

    billing_cycle_anchor: Anchor | None = None
    payment_behavior: Literal["resume_on_payment_attempt", "resume_on_payment_success"] | None = (
        None
    )
    proration_behavior: ProrationBehavior = "create_prorations"
    proration_date: Refused = UNSET


class FlexibleMode(Params):
    """The mode that subscriptions can be brought to."""

    type: Literal["flexible"]
    flexible: Flexible | None = None


class SubscriptionMigrate(RequestParams):
    """The mode to bring a subscription to."""

    billing_mode: FlexibleMode


def updated(
    call: Call,
    params: SubscriptionUpdate,
    told: list[Told],
    connection: sa.Connection,
    before: Subscription,
    now: int,
) -> Turn:
    """Return the turn of a change of a subscription, its items, its periods and its end."""
    _check_over(before, params)
    at = whole_second(now, before.settled)
    collection, days = collected(params, before.collection, before.days_until_due)
    one = replace(
        before,
        collection=collection,
        days_until_due=days,
        threshold=threshold_of(params.billing_thresholds, before.threshold),
        metadata=merge_metadata(before.metadata, params.metadata),
        details=_details(params, before),
    )
    anew = params.billing_cycle_anchor is not None and params.billing_cycle_anchor.type == "now"
    items = changed_items(
        connection, call, one, told, at, behavior=params.proration_behavior, anew=anew
    )
    known = prices_of(connection, call, [before, items.subscription])
    known |= {one.price.id: one.price for one in told if one.price is not None}
    often = recurrences(known)
    made = _in_time(items, params, often, at, anew=anew)
    over = before.status == "canceled"
    after = _recounted(made.subscription, before)
    ends = after if over else ending(after, params, often, at)
    at_once = anew or (params.trial_end == "now" and before.status == "trialing")
    at_once = at_once or (params.proration_behavior == "always_invoice" and bool(made.billed))
    return Turn(
        before=before,
        change=Change(ends, made.settled),
        at=at,
        events=("updated",),
        invoice="subscription_update" if at_once else None,
        draft=collection == "send_invoice",
    )


def _recounted(one: Subscription, before: Subscription) -> Subscription:
    """Return a subscription that forgets on which day its periods begin once they do not."""
    if one.anchor == before.anchor or "billing_cycle_anchor_config" not in one.details:
        return one
    details = dict(one.details)
    del details["billing_cycle_anchor_config"]
    return replace(one, details=details)


def _check_over(one: Subscription, params: SubscriptionUpdate) -> None:
    """Refuse to change anything but a note of what is over."""
    if one.status != "canceled":
        return
    plain = SubscriptionUpdate()
    given = {
        name
        for name in params.__struct_fields__
        if getattr(params, name) != getattr(plain, name) and name not in _OF_CANCELED
    }
    if given:
        raise subscription_errors.canceled(given)


def _details(params: SubscriptionUpdate, before: Subscription) -> dict[str, Any]:
    details = cancellation_of(details_of(params, before.details), params.cancellation_details)
    if params.pause_collection is None:
        details.pop("pause_collection", None)
    elif not isinstance(params.pause_collection, UnsetType):
        resumes = params.pause_collection.resumes_at
        if resumes is not None:
            raise param_errors.not_supported("pause_collection[resumes_at]")
        details["pause_collection"] = {
            "behavior": params.pause_collection.behavior,
            "resumes_at": resumes,
        }
    return details


def _in_time(
    made: Change, params: SubscriptionUpdate, often: Recurrences, at: int, *, anew: bool
) -> Change:
    """Return a change with the trial and the anchor that a request tells."""
    one = made.subscription
    if params.trial_from_plan:
        raise param_errors.not_supported("trial_from_plan")
    moved = anew or params.trial_end is not None
    if moved and one.status in ("canceled", "paused"):
        raise subscription_errors.not_while(one.status)
    if anew and one.status == "trialing":
        raise subscription_errors.not_while("trialing", "billing_cycle_anchor")
    if params.trial_end == "now":
        if one.status != "trialing":
            return made
        next_ = change.trial_ended(one, often, at)
    elif params.trial_end is not None:
        trial = trial_until(params.trial_end, at)
        _check_prorations(one, params, "trial_end")
        next_ = change.trial_set(one, at, trial.end if trial else at)
    elif anew:
        _check_prorations(one, params, "billing_cycle_anchor")
        next_ = change.anchored(one, often, at)
    else:
        return made
    return Change(next_.subscription, (*made.settled, *next_.settled))


def _check_prorations(one: Subscription, params: SubscriptionUpdate, param: str) -> None:
    """Refuse to end a period of what is licensed early, which would be credited."""
    if one.status == "trialing" or params.proration_behavior == "none":
        return
    if any(map(is_licensed, one.items)):
        raise subscription_errors.needs_prorations(param)


def canceled(
    call: Call,
    params: SubscriptionCancel,
    connection: sa.Connection,
    before: Subscription,
    now: int,
) -> Turn:
    """Return the turn with which a subscription ends now."""
    del connection
    if before.status == "canceled":
        raise envelope.no_such("subscription", call.ids[0])
    if params.prorate and before.status != "trialing" and any(map(is_licensed, before.items)):
        raise subscription_errors.needs_no_credit()
    details = cancellation_of(before.details, params.cancellation_details, reason=REQUESTED)
    one = replace(before, details=details)
    made = change.canceled(one, now, billed=params.invoice_now, until=_until(now))
    return Turn(
        before=before,
        change=made,
        at=now,
        events=("deleted",),
        invoice="subscription_update" if params.invoice_now else None,
    )


def paused(
    params: SubscriptionPause, connection: sa.Connection, before: Subscription, now: int
) -> Turn:
    """Return the turn in which a subscription stands still."""
    del connection
    if before.status not in ("active", "past_due"):
        raise subscription_errors.not_while(before.status)
    bill_for = params.bill_for or BillFor()
    usage, unused = bill_for.outstanding_usage_through, bill_for.unused_time_from
    if usage is not None and usage.type == "item_current_period_start":
        raise param_errors.invalid_choice(
            "bill_for[outstanding_usage_through][type]", ("none", "now")
        )
    if any(map(is_licensed, before.items)) and (unused is None or unused.type != "none"):
        raise param_errors.not_supported("bill_for[unused_time_from]")
    made = change.paused(
        before, now, billed=usage is None or usage.type == "now", until=_until(now)
    )
    at_once = params.invoicing_behavior == "invoice"
    return Turn(
        before=before,
        change=made,
        at=now,
        events=("updated", "paused"),
        invoice="subscription_update" if at_once else None,
        draft=before.collection == "send_invoice",
    )


def resumed(
    call: Call,
    params: SubscriptionResume,
    connection: sa.Connection,
    before: Subscription,
    now: int,
) -> Turn:
    """Return the turn with which a subscription goes on."""
    if before.status != "paused":
        raise subscription_errors.not_paused()
    anew = params.billing_cycle_anchor is None or params.billing_cycle_anchor.type == "now"
    if not anew and params.proration_behavior != "none" and any(map(is_licensed, before.items)):
        raise subscription_errors.needs_prorations("billing_cycle_anchor")
    often = recurrences(prices_of(connection, call, [before]))
    at = whole_second(now, before.settled)
    made = change.resumed(before, often, at, anew=anew)
    after = moved_end(_recounted(made.subscription, before))
    return Turn(
        before=before,
        change=Change(after, made.settled),
        at=at,
        events=("updated", "resumed"),
        invoice="subscription_update",
        draft=before.collection == "send_invoice",
    )


def migrated(
    params: SubscriptionMigrate, connection: sa.Connection, before: Subscription, now: int
) -> Turn:
    """Return the turn that brings a subscription to the flexible mode."""
    del connection
    if before.status == "canceled":
        raise subscription_errors.not_while("canceled")
    if before.mode == "flexible":
        raise subscription_errors.flexible_already()
    flexible = params.billing_mode.flexible or Flexible()
    details = before.details | {
        "mode_updated": now,
        "proration_discounts": flexible.proration_discounts,
    }
    after = replace(before, mode="flexible", details=details)
    return Turn(before=before, change=Change(after), at=now, events=("updated",))


def _until(now: int) -> int:
    """Return the end of the second that an instant is in."""
    return whole_second(now) + 1000
