"""What becomes of a subscription: it starts, renews, changes in mid-period, pauses and ends.

What a reader may rely on:

- Each function returns the subscription as it is from the instant `at` on, and the usage that is
  settled with that: of every item that is metered the range from its `since` up to where its new
  `since` is. So the ranges of an item follow each other without a gap or an overlap, from its first
  `since` on, whatever comes when.
- What is settled is billed, or free because it was a trial, or dropped: nobody is asked to pay it.
- What is billed `early`, because a threshold was reached, is counted once more with what follows on
  it, or after it: so a range that goes on begins where it began.
- Time goes on step by step: nothing that was due before `at` (`next_step`) is left to be done.

`recurrences` tells how often each price is billed, by its id.

https://docs.stripe.com/billing/subscriptions/billing-mode/compare
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from msgspec.structs import replace

from meterhouse.billing.period import Period, period_at
from meterhouse.billing.price import Recurrence
from meterhouse.billing.subscription import Item, Subscription

Fate = Literal["billed", "dropped", "early", "free"]
Recurrences = Mapping[str, Recurrence]

_ANCHOR_DAY = "billing_cycle_anchor_config"  # among the details of a subscription


class Stretch(NamedTuple):
    """Usage of an item, as it was, that is settled: what is in the half-open `usage_in`."""

    item: Item
    usage_in: Period
    fate: Fate


class Change(NamedTuple):
    """What a subscription has become, and the usage that was settled with it."""

    subscription: Subscription
    settled: tuple[Stretch, ...] = ()

    @property
    def billed(self) -> tuple[Stretch, ...]:
        """What is to be paid of it."""
        return tuple(stretch for stretch in self.settled if stretch.fate == "billed")


def current_period(subscription: Subscription, recurrence: Recurrence, at: int) -> Period:
    """Return the period, at an instant, of an item that is billed so often.

    It is the trial as long as that lasts. What begins in the midst of a period, as the subscription
    itself may and what follows on a trial, has the rest of it.
    """
    trial = subscription.trial
    if subscription.status == "trialing" and trial is not None:
        return trial
    begun = subscription.start if trial is None or trial.end > at else trial.end
    start, end = period_at(subscription.anchor, recurrence, at)
    return Period(max(start, begun), end)


def started(
    subscription: Subscription, recurrences: Recurrences, at: int, *, billed: bool = True
) -> Change:
    """Start a subscription that is new at `at`, whose items have no periods yet.

    Where its start lies before, the usage since then is settled in flexible mode, one stretch a
    period. In classic mode it belongs to the first period; unless it is not `billed`.
    """
    settled: list[Stretch] = []
    items = []
    for item in subscription.items:
        recurrence = recurrences[item.price]
        since = at
        for usage_in in _backdated(subscription, recurrence, at) if _metered(item) else ():
            if billed and subscription.mode == "classic":
                since = subscription.start
                break
            settled.append(Stretch(item, usage_in, "billed" if billed else "dropped"))
        period = current_period(subscription, recurrence, at)
        items.append(replace(item, period=period, since=since))
    return Change(replace(subscription, items=tuple(items)), tuple(settled))


def renewed(subscription: Subscription, recurrences: Recurrences, at: int) -> Change:
    """Begin the next period of the items whose period has ended at `at`."""

    def next_period(item: Item) -> Item:
        end = item.period.end
        if end > at:
            return item
        period = Period(end, period_at(subscription.anchor, recurrences[item.price], end).end)
        return replace(item, period=period, since=end)

    return _settled(subscription, next_period, "billed")


def trial_ended(subscription: Subscription, recurrences: Recurrences, at: int) -> Change:
    """End a trial, in time or before; periods are counted from here unless it was told otherwise.

    Its usage is free.
    """
    trial = subscription.trial or Period(at, at)
    active = replace(
        subscription,
        status="active",
        trial=Period(trial.start, at),
        anchor=at if subscription.anchor == trial.end else subscription.anchor,
    )
    return _anew(active, recurrences, at, "free")


def trial_set(subscription: Subscription, at: int, end: int) -> Change:
    """Let nothing be charged until `end`, from which on periods are counted.

    A trial that has begun ends then; else the usage before it is settled.
    """
    trial = subscription.trial
    if subscription.status == "trialing" and trial is not None:
        anchor = end if subscription.anchor == trial.end else subscription.anchor
        trial = Period(trial.start, end)
        items = tuple(replace(item, period=trial) for item in subscription.items)
        return Change(
            replace(subscription, trial=trial, trial_told=False, anchor=anchor, items=items)
        )
    trial = Period(at, end)
    on_trial = replace(subscription, status="trialing", trial=trial, trial_told=False, anchor=end)
    return _settled(on_trial, lambda item: replace(item, period=trial, since=at), "billed")


def anchored(subscription: Subscription, recurrences: Recurrences, at: int) -> Change:
    """Begin new periods of all items now, from which all later ones are counted."""
    return _anew(replace(subscription, anchor=at), recurrences, at, "billed")


def threshold_reached(
    subscription: Subscription, recurrences: Recurrences, at: int, until: int
) -> Change:
    """Bill early what was used up to `until`, in periods that go on or, if told, begin anew.

    They are counted from `at` then, on no day that was told before, and usage from `until` on; an
    end at the period's end moves with it.
    """
    early = replace(subscription, billed_early=until)
    if early.threshold is not None and early.threshold.resets:
        settled = _anew(replace(early, anchor=at), recurrences, at, "early", until)
        anew = settled.subscription
        told = {name: one for name, one in anew.details.items() if name != _ANCHOR_DAY}
        ends = anew.period.end if anew.cancel_at_period_end else anew.cancel_at
        return Change(replace(anew, details=told, cancel_at=ends), settled.settled)
    stretches = (_stretch(item, until, "early") for item in early.items)
    return Change(early, tuple(stretch for some in stretches for stretch in some))


def canceled(
    subscription: Subscription, at: int, *, billed: bool, until: int | None = None
) -> Change:
    """End a subscription for good; what was used and not billed yet is `billed`, or dropped.

    Usage up to `until` belongs to it where that is told: what ends in the midst of a second has
    all of it, since senders tell time in whole seconds.
    """
    over = replace(
        subscription,
        status="canceled",
        canceled_at=at if subscription.canceled_at is None else subscription.canceled_at,
        ended_at=at,
    )
    fate = _fate(subscription, billed=billed)
    since = max(until or at, subscription.settled)
    return _settled(over, lambda item: replace(item, since=since), fate)


def paused(
    subscription: Subscription, at: int, *, billed: bool, until: int | None = None
) -> Change:
    """Stand still until it is resumed: no periods, no invoices; `until` is as for its end."""
    still = replace(subscription, status="paused")
    fate = _fate(subscription, billed=billed)
    since = max(until or at, subscription.settled)
    return _settled(still, lambda item: replace(item, since=since), fate)


def resumed(subscription: Subscription, recurrences: Recurrences, at: int, *, anew: bool) -> Change:
    """Go on after a pause, in which usage was free: with new periods, or in those of before."""
    active = replace(subscription, status="active", anchor=at if anew else subscription.anchor)
    return _anew(active, recurrences, at, "dropped")


def item_added(subscription: Subscription, item: Item, recurrences: Recurrences, at: int) -> Change:
    """Add an item that is billed from now on."""
    period = current_period(subscription, recurrences[item.price], at)
    added = replace(item, period=period, since=at)
    return Change(replace(subscription, items=(*subscription.items, added)))


def item_changed(
    subscription: Subscription, item: Item, recurrences: Recurrences, at: int, *, billed: bool
) -> Change:
    """Put `item` in the place of that of its id; under another price it is billed from now on."""

    def change(old: Item) -> Item:
        if old.id != item.id:
            return old
        if old.price == item.price:
            return replace(item, period=old.period, since=old.since)
        period = current_period(subscription, recurrences[item.price], at)
        return replace(item, period=period, since=at)

    return _settled(subscription, change, _fate(subscription, billed=billed))


def item_removed(subscription: Subscription, item_id: str, at: int, *, billed: bool) -> Change:
    """Take an item away."""
    fate = _fate(subscription, billed=billed)
    (removed,) = (item for item in subscription.items if item.id == item_id)
    rest = tuple(item for item in subscription.items if item.id != item_id)
    return Change(replace(subscription, items=rest), _stretch(removed, at, fate))


def splits(subscription: Subscription, behavior: str) -> bool:
    """Tell whether usage before a change of prices is billed at the old ones.

    In classic mode it is not (https://docs.stripe.com/billing/subscriptions/billing-mode/compare).
    """
    return subscription.mode == "flexible" and behavior != "none"


def _anew(
    subscription: Subscription,
    recurrences: Recurrences,
    at: int,
    fate: Fate,
    since: int | None = None,
) -> Change:
    def begin(item: Item) -> Item:
        period = current_period(subscription, recurrences[item.price], at)
        return replace(item, period=period, since=at if since is None else since)

    return _settled(subscription, begin, fate)


def _settled(subscription: Subscription, change: Callable[[Item], Item], fate: Fate) -> Change:
    """Change every item, and settle what lies between what its `since` was and what it is."""
    settled: list[Stretch] = []
    items = []
    for item in subscription.items:
        new = change(item)
        settled.extend(_stretch(item, new.since, fate))
        items.append(new)
    return Change(replace(subscription, items=tuple(items)), tuple(settled))


def _stretch(item: Item, until: int, fate: Fate) -> tuple[Stretch, ...]:
    if not _metered(item) or until <= item.since:
        return ()
    return (Stretch(item, Period(item.since, until), fate),)


def _backdated(subscription: Subscription, recurrence: Recurrence, at: int) -> Iterator[Period]:
    """Yield the periods between a start and `at`, the last one as far as it is over."""
    start = subscription.start
    while start < at:
        end = min(at, period_at(subscription.anchor, recurrence, start).end)
        yield Period(start, end)
        start = end


def _fate(subscription: Subscription, *, billed: bool) -> Fate:
    if subscription.status == "trialing":
        return "free"
    return "billed" if billed and subscription.status != "paused" else "dropped"


def _metered(item: Item) -> bool:
    return item.quantity is None
