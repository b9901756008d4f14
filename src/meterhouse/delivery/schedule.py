"""When a delivery that failed is tried again (https://docs.stripe.com/webhooks#retries).

Each wait is twice the one before it. In live mode the first is a minute and tries go on for three
days; in test mode it is an hour, and the third try is the last.
"""

from meterhouse import limits

_LIVE_WAIT = limits.DELIVERY_LIVE_WAIT_SECONDS * 1000
_TEST_WAIT = limits.DELIVERY_TEST_WAIT_SECONDS * 1000
_LIVE_AGE_MAX = limits.DELIVERY_LIVE_DAYS * 86_400_000


def next_attempt(attempts: int, *, livemode: bool, created: int, now: int) -> int | None:
    """Return when to try again after so many `attempts`, the last of which failed `now`.

    None when it was the last one. `created` is when the delivery became owed.
    """
    if not livemode:
        last = attempts >= limits.DELIVERY_TEST_ATTEMPTS_MAX
        return None if last else now + _TEST_WAIT * 2 ** (attempts - 1)
    # A try by hand may come after any number of others, so the doubling has to end somewhere.
    at = now + min(_LIVE_WAIT * 2 ** (attempts - 1), _LIVE_AGE_MAX)
    return at if at <= created + _LIVE_AGE_MAX else None
