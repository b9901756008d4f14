"""When a delivery that failed is tried again (https://docs.stripe.com/webhooks#retries).

Each wait is twice the one before it. In live mode the first is a minute and tries go on for three
days; in test mode it is an hour, and the third try is the last.

A try by hand takes the place of none of these: after it, the next is where it would have been.
"""

from meterhouse import limits

_LIVE_WAIT = limits.DELIVERY_LIVE_WAIT_SECONDS * 1000
_TEST_WAIT = limits.DELIVERY_TEST_WAIT_SECONDS * 1000
_TEST_AGE_MAX = _TEST_WAIT * (2 ** (limits.DELIVERY_TEST_ATTEMPTS_MAX - 1) - 1)
_LIVE_AGE_MAX = limits.DELIVERY_LIVE_DAYS * 86_400_000

# No delivery waits longer than this for its next try.
LONGEST_WAIT = max(_LIVE_AGE_MAX, _TEST_AGE_MAX, limits.DELIVERY_DOUBT_WAIT_SECONDS * 1000)


def next_attempt(attempts: int, *, livemode: bool, created: int, now: int) -> int | None:
    """Return when to try again after so many `attempts`, the last of which failed `now`.

    None when it was the last one. `created` is when the delivery became owed.
    """
    planned = _planned(livemode=livemode, age=now - created)
    later = _later(attempts, livemode=livemode, age=now - created)
    ages = [age for age in (planned, later) if age is not None]
    return created + min(ages) if ages else None


def _planned(*, livemode: bool, age: int) -> int | None:
    """Return the age at which a delivery that was tried on time is tried next."""
    wait = _LIVE_WAIT if livemode else _TEST_WAIT
    waits = age // wait + 1  # the ages are 1, 3, 7, … times the first wait
    at = (2 ** waits.bit_length() - 1) * wait
    return at if at <= (_LIVE_AGE_MAX if livemode else _TEST_AGE_MAX) else None


def _later(attempts: int, *, livemode: bool, age: int) -> int | None:
    """Return the age at which a delivery is tried next that missed tries while we were down."""
    if not livemode:
        last = attempts >= limits.DELIVERY_TEST_ATTEMPTS_MAX
        return None if last else age + _TEST_WAIT * 2 ** (attempts - 1)
    # A try by hand may come after any number of others, so the doubling has to end somewhere.
    at = age + min(_LIVE_WAIT * 2 ** (attempts - 1), _LIVE_AGE_MAX)
    return at if at <= _LIVE_AGE_MAX else None
