"""What time it is for what belongs to a test clock, and for all else.

What a reader may rely on: while a clock is on its way, nothing that lives by it is changed but by
the job that moves it.
"""

import sqlalchemy as sa

from meterhouse.ledger import test_clocks
from meterhouse.wire.test_clock_errors import underway


def present(connection: sa.Connection, scope: int, test_clock: str | None, now: int) -> int:
    """Return the instant of a change to what belongs to `test_clock`; `now` where that is None.

    Refuses while the clock is on its way. The clock does not move until we commit.
    """
    if test_clock is None:
        return now
    clock = test_clocks.find_test_clock(connection, scope, test_clock, lock=True)
    if clock is None:  # it was deleted, and all that belonged to it with it
        return now
    if clock.target is not None:
        raise underway(clock.id)
    return clock.frozen_time


def shown_at(connection: sa.Connection, scope: int, test_clock: str | None, now: int) -> int:
    """Return the instant at which what belongs to `test_clock` is looked at, also on its way."""
    if test_clock is None:
        return now
    clock = test_clocks.find_test_clock(connection, scope, test_clock)
    return now if clock is None else clock.frozen_time
