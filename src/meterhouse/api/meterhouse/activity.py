"""`/meterhouse/v1/activity`: how many events came, when, and what became of them.

It is answered from counts that the ledger keeps, whatever the number of events.
"""

from typing import Annotated, Any, Literal

from msgspec import field

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.ledger import activity
from meterhouse.ledger.activity import Count, Group, Question
from meterhouse.metering.activity import WINDOW
from meterhouse.metering.window import MILLISECONDS
from meterhouse.render.instant import seconds
from meterhouse.wire import refusals
from meterhouse.wire.body import to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import list_object
from meterhouse.wire.params import Items, RequestParams, Timestamp

_WINDOWS = {"minute5": WINDOW, "hour": MILLISECONDS["hour"], "day": MILLISECONDS["day"]}
_GROUPS = 3


class ActivityParams(RequestParams, kw_only=True):
    """The parameters; `starts_at` is inclusive, `ends_at` exclusive."""

    starts_at: Timestamp
    ends_at: Timestamp
    window: Literal["minute5", "hour", "day"] | None = None
    group_by: Annotated[list[Group], Items(_GROUPS)] = field(default_factory=list)
    meter: str | None = None
    outcome: Literal["accepted", "duplicate", "rejected"] | None = None


async def list_(call: Call) -> Answer:
    """Count judged events by the windows in which they were received."""
    params = call.params(ActivityParams)
    check_expand(params.expand)
    question = Question(
        call.scope.id,
        params.starts_at * 1000,
        params.ends_at * 1000,
        None if params.window is None else _WINDOWS[params.window],
        tuple(dict.fromkeys(params.group_by)),
        params.meter,
        params.outcome,
    )
    if question.start > question.end:
        raise refusals.invalid_time_range()
    settled = await call.services.progress.reach(strong=call.strong)
    rows = await call.read(activity.count, question, limits.ACTIVITY_ROWS_MAX + 1)
    if len(rows) > limits.ACTIVITY_ROWS_MAX:
        raise refusals.too_many_rows(limits.ACTIVITY_ROWS_MAX, "window")
    data = [_row(question, row) for row in rows]
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, to_json(list_object(call.path, data, has_more=False)), headers)


def _row(question: Question, row: Count) -> dict[str, Any]:
    end = question.end if question.window is None else row.start + question.window
    return {
        "object": "meterhouse.activity",
        "code": row.code or None,
        "ends_at": seconds(min(end, question.end)),
        "events": row.events,
        "last_received_at": seconds(row.last_received_at),
        "meter": row.meter or None,
        "outcome": row.outcome,
        "starts_at": seconds(max(row.start, question.start)),
    }
