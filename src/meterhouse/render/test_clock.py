"""Test clocks as Stripe shows them."""

from typing import Any

from meterhouse.ledger.test_clocks import TestClock
from meterhouse.limits import TEST_CLOCK_DAYS
from meterhouse.metering.window import MILLISECONDS
from meterhouse.render.instant import seconds


def render_test_clock(one: TestClock) -> dict[str, Any]:
    """Render a clock (https://docs.stripe.com/api/test_clocks/object); there are no live ones."""
    details: dict[str, Any] = {}
    if one.target is not None:
        details["advancing"] = {"target_frozen_time": seconds(one.target)}
    return {
        "id": one.id,
        "object": "test_helpers.test_clock",
        "created": seconds(one.created),
        "deletes_after": seconds(one.created + TEST_CLOCK_DAYS * MILLISECONDS["day"]),
        "frozen_time": seconds(one.frozen_time),
        "livemode": False,
        "name": one.name,
        "status": _status(one),
        "status_details": details,
    }


def _status(one: TestClock) -> str:
    if one.failed:
        return "internal_failure"
    return "ready" if one.target is None else "advancing"
