"""Which of the sign-ins that fail are written into the audit log.

Whoever guesses must not fill the ledger. In an hour so many are noted, and so many of them from one
address; of version 6 a /64 counts as one. The others are counted, and the next that is noted tells
their number.
"""

from collections import Counter

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.proxies import home_of

_HOUR = 3_600_000


class Failures:
    """Counts what fails, of the hour that it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hour = 0
        self._noted: Counter[str] = Counter()  # by address; no more than are noted in an hour
        self._unnoted = 0

    def count(self, client: str) -> int | None:
        """Return how many before this one were not noted; None where this one is not to be."""
        hour = self._clock.now() // _HOUR
        if hour != self._hour:
            self._hour = hour
            self._noted.clear()
        home = home_of(client)
        crowded = self._noted.total() >= limits.SIGN_IN_NOTED_ATTEMPTS_MAX
        if crowded or self._noted[home] >= limits.SIGN_IN_ADDRESS_NOTED_ATTEMPTS_MAX:
            self._unnoted += 1
            return None
        self._noted[home] += 1
        unnoted, self._unnoted = self._unnoted, 0
        return unnoted
