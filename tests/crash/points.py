"""Every point at which the pipeline passes something on, as traps know it (`tests.crash.child`)."""

from typing import NamedTuple


class Point(NamedTuple):
    """Where a trap kills: which work, at which moment, and the highest number of its call."""

    call: str
    moment: str
    calls: int

    def __str__(self) -> str:
        return f"{self.moment} {self.call}"


ACCEPT = "accept.commit"
JUDGE = "process.Processor._judge"
COMMIT = "process._commit"
INSERT = "store.UsageStore.insert"
INSERT_AGAIN = "store.UsageStore.insert_again"
RELEASE = "blocks.release"
FIND = "store.UsageStore.find"
CANCEL = "meter_event_adjustment.cancel.<locals>.work"

# In the order of an event's life. Only a crash between the ledger and the usage store leaves work
# for the next start; so the points of such a start stand right behind that crash.
POINTS = (
    Point(ACCEPT, "before", 100),
    Point(ACCEPT, "within", 100),
    Point(ACCEPT, "after", 100),
    Point(JUDGE, "after", 3),
    Point(COMMIT, "before", 3),
    Point(COMMIT, "within", 3),
    Point(COMMIT, "after", 3),
    Point(INSERT_AGAIN, "before", 1),
    Point(INSERT_AGAIN, "within", 1),
    Point(INSERT_AGAIN, "after", 1),
    Point(RELEASE, "before", 1),
    Point(RELEASE, "within", 1),
    Point(RELEASE, "after", 1),
    Point(INSERT, "before", 8),
    Point(INSERT, "within", 8),
    Point(INSERT, "after", 8),
    Point(RELEASE, "before", 4),
    Point(RELEASE, "within", 4),
    Point(RELEASE, "after", 4),
    Point(FIND, "after", 4),
    Point(CANCEL, "within", 2),
    Point(CANCEL, "after", 2),
)
