"""Every point at which the pipeline passes something on, as traps know it (`tests.crash.trap`)."""

from typing import NamedTuple


class Point(NamedTuple):
    """Where a trap kills: which work, at which moment, and the highest number of its call."""

    call: str
    moment: str
    calls: int

    def __str__(self) -> str:
        return f"{self.moment} {self.call}"


ACCEPT = "commit.commit"
LOAD = "store.UsageStore.claimed_on"
ASK = "store.UsageStore.claims"
JUDGE = "client.EngineClient.judge"
CONCLUDE = "client.EngineClient.conclude"
COMMIT = "process._commit"
INSERT_EVENTS = "store.UsageStore.insert events"
INSERT_CLAIMS = "store.UsageStore.insert identifiers"
INSERT_EVENTS_AGAIN = "store.UsageStore.insert_again events"
INSERT_CLAIMS_AGAIN = "store.UsageStore.insert_again identifiers"
CONFIRM = "store.UsageStore.confirm"
RELEASE = "blocks.release"
FIND = "store.UsageStore.find"
CANCEL = "meter_event_adjustment.cancel.<locals>.work"

# In the order of an event's life. Only a crash between the ledger and the usage store leaves work
# for the next start; so the points of such a start stand right behind that crash. Under load, what
# is confirmed is released by the commit of a later batch. What a start loads must have been stored.
POINTS = (
    Point(ACCEPT, "before", 100),
    Point(ACCEPT, "within", 100),
    Point(ACCEPT, "after", 100),
    Point(ASK, "after", 5),
    Point(JUDGE, "after", 3),
    Point(CONCLUDE, "after", 3),
    Point(COMMIT, "before", 3),
    Point(COMMIT, "within", 3),
    Point(COMMIT, "after", 3),
    Point(INSERT_EVENTS_AGAIN, "before", 1),
    Point(INSERT_EVENTS_AGAIN, "within", 1),
    Point(INSERT_CLAIMS_AGAIN, "within", 1),
    Point(INSERT_CLAIMS_AGAIN, "after", 1),
    Point(RELEASE, "before", 1),
    Point(RELEASE, "within", 1),
    Point(RELEASE, "after", 1),
    Point(INSERT_EVENTS, "before", 6),
    Point(INSERT_EVENTS, "within", 6),
    Point(INSERT_EVENTS, "after", 6),
    Point(INSERT_CLAIMS, "before", 3),
    Point(INSERT_CLAIMS, "within", 3),
    Point(INSERT_CLAIMS, "after", 3),
    Point(CONFIRM, "before", 4),
    Point(CONFIRM, "within", 4),
    Point(CONFIRM, "after", 4),
    Point(LOAD, "after", 1),
    Point(FIND, "after", 4),
    Point(CANCEL, "within", 2),
    Point(CANCEL, "after", 2),
)
