"""Refusals about alerts (https://docs.stripe.com/api/billing/alert).

Stripe's words are not known of these; a plain sentence names the parameter.
"""

from meterhouse.errors import Refusal
from meterhouse.limits import ALERT_DECIMAL_DIGITS_MAX
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


def invalid_decimal(name: str, text: str) -> Refusal:
    """Refuse what is no positive decimal, or has too many digits."""
    return Refusal(
        f"Invalid decimal: {quote(text)}; must be greater than 0, and have at most "
        f"{ALERT_DECIMAL_DIGITS_MAX} digits on each side of the point",
        param=quote(name),
    )


def steps_not_rising(number: int) -> Refusal:
    """Refuse steps that do not rise."""
    return Refusal("Each step must be greater than the one before.", param=f"steps[{number}]")


def only_of_sums(param: str) -> Refusal:
    """Refuse what is only there for usage that adds up."""
    return Refusal(
        f"`{param}` needs a meter that counts or adds up, without an event time window.",
        param=param,
    )


def customer_of_forecast() -> Refusal:
    """Refuse a forecast of nobody, or of somebody whom the alert is not about."""
    return Refusal(
        "A forecast is made of one customer: that of the alert, or one that is named where the "
        "alert is about every customer.",
        param="customer",
    )
