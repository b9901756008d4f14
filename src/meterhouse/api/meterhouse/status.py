"""`/meterhouse/v1/status`: the books of one account in one mode, and how fresh its answers are.

It reads a handful of rows, so it may be asked every second.
"""

from collections import Counter

from meterhouse import zones
from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import holdups, tallies
from meterhouse.render.instant import decimal_seconds, seconds
from meterhouse.wire.expand import check_expand
from meterhouse.wire.params import RequestParams


async def retrieve(call: Call) -> Answer:
    """Tell what became of all events, and up to when everything received can be read."""
    check_expand(call.params(RequestParams).expand)
    _, complete_until = await call.services.freshness.reach(strong=False)
    books: Counter[str] = Counter()
    for line, events in (await call.read(tallies.read, call.scope.id)).items():
        books[line.outcome] += events
    acknowledged = books["acknowledged"]
    judged = books["accepted"] + books["duplicate"] + books["rejected"]
    return ok(
        {
            "object": "meterhouse.status",
            "accepted": books["accepted"],
            "acknowledged": acknowledged,
            "clock": call.services.timekeeper.state,
            "complete_until": decimal_seconds(complete_until),
            "created": seconds(call.now),
            "duplicate": books["duplicate"],
            "held_up": await call.read(holdups.count, call.scope.id),
            "livemode": call.scope.livemode,
            "pending": acknowledged - judged,
            "rejected": books["rejected"],
            "timezone_rules": zones.rules().version,
        }
    )
