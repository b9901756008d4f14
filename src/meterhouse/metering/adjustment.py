"""Adjustments: when an event may still be cancelled.

https://docs.stripe.com/api/billing/meter-event-adjustment/create
"""

from meterhouse.limits import ADJUSTMENT_HOURS_MAX
from meterhouse.metering.window import MILLISECONDS

_AGE_MAX = ADJUSTMENT_HOURS_MAX * MILLISECONDS["hour"]


def cancellable(received_at: int, now: int) -> bool:
    """Tell whether an event received at `received_at` may be cancelled at `now`.

    Both are milliseconds since the epoch; an event may be cancelled up to and including the
    instant at which it is `ADJUSTMENT_HOURS_MAX` hours old.
    """
    return now - received_at <= _AGE_MAX
