"""Refusals about alerts (https://docs.stripe.com/api/billing/alert).

Stripe's words are not known of these; a plain sentence names the parameter.
"""

from meterhouse.errors import Refusal
from meterhouse.wire import envelope
from meterhouse.wire.envelope import quote


def no_such_alert(alert: str) -> Refusal:
    """Refuse an id in the path that no alert has."""
    return envelope.no_such("billing alert", alert)


def archived(alert: str) -> Refusal:
    """Refuse to change an alert that is archived."""
    return Refusal(f"The alert '{quote(alert)}' is archived and cannot be changed.")


def too_many(most: int) -> Refusal:
    """Refuse an active alert more than a customer on a meter may have."""
    return Refusal(
        f"A customer can have at most {most} active alerts on a meter, with those that are about "
        "every customer."
    )


def inactive_meter(meter: str, param: str) -> Refusal:
    """Refuse an alert on a meter that takes no events."""
    return Refusal(f"The meter '{quote(meter)}' is inactive.", param=param)
