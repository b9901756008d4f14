"""The limits profile `stripe`: how much a sender may do in a second, and at once.

`config.RATE_LIMITS` is the table; a setting changes its rows. Each account has its own measure of
each row in each mode (https://docs.stripe.com/rate-limits). Where several nodes serve the API each
one measures what it sees against its share, so together they let through what the table says where
senders come to all of them alike, and less where they do not.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from meterhouse.clock import Clock
from meterhouse.metering.model import Scope
from meterhouse.wire import envelope

# What a request counts towards: a name in the table, without its mode.
Limit = Literal["basic", "meter_events", "meter_event_stream", "meter_usage", "search"]
_APART: frozenset[Limit] = frozenset({"meter_usage", "search"})  # which count towards nothing else


_WHOLE = 1_000_000


class Measure:
    """What is left of one row for one account and mode.

    It fills up by `rate` a second, to as much as one second gives. Amounts are kept in millionths,
    so that a millisecond's worth is a whole number, or nearly so where it is shared.
    """

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: int, now: int) -> None:
        self._rate = rate
        self._left = rate * _WHOLE
        self._at = now

    def take(self, amount: int, now: int, nodes: int = 1) -> bool:
        """Take `amount` if it is left. More than a second gives is let through when it is full.

        Of `nodes` that share the rate each one gets its part.
        """
        full = self._rate * _WHOLE // nodes
        gained = max(0, now - self._at) * full // 1000
        self._left = min(full, self._left + gained)
        self._at = now
        if self._left < min(amount * _WHOLE, full):
            return False
        self._left -= amount * _WHOLE
        return True


class RateLimits:
    """Measures of all accounts, and which customers' events are on their way."""

    def __init__(
        self, rates: Mapping[str, int], clock: Clock, nodes: Callable[[], int] = lambda: 1
    ) -> None:
        self._rates = rates
        self._clock = clock
        self._nodes = nodes  # how many serve the API at present
        self._measures: dict[tuple[int, str], Measure] = {}  # as many as there are accounts
        self._held: set[tuple[int, str, str]] = set()

    def admit(self, limit: Limit, scope: Scope, *, connected: bool, amount: int = 1) -> None:
        """Let a request pass, or refuse it with 429.

        `amount` is how much the request is of what the limit's own row counts. In test mode, and
        for an account that the sender has to name, every request counts as one towards the basic
        limit, but for those for meter usage and searches.
        """
        basic = limit not in _APART and (limit == "basic" or connected or not scope.livemode)
        row = f"{'basic' if basic else limit}.{'live' if scope.livemode else 'test'}"
        now = self._clock.now()
        measure = self._measures.get((scope.id, row))
        if measure is None:
            measure = self._measures[scope.id, row] = Measure(self._rates[row], now)
        if not measure.take(1 if basic else amount, now, self._nodes()):
            raise envelope.rate_limited("global-rate" if basic else "endpoint-rate")

    @contextmanager
    def hold(self, scope: Scope, meter: str, customer: str) -> Iterator[bool]:
        """Hold a customer's events on a meter for one request; False if another one does."""
        name = (scope.id, meter, customer)
        if name in self._held:
            yield False
            return
        self._held.add(name)
        try:
            yield True
        finally:
            self._held.discard(name)
