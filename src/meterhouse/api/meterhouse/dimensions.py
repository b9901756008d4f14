"""`/meterhouse/v1/meters/{id}/dimensions`: which keys of the payload are dimensions of a meter.

They can be changed at any time. The rollup is rebuilt from the stored events then, while questions
are answered as before; the change shows once all of it is there.
"""

from typing import Annotated, Any

import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.api.v1 import meters
from meterhouse.api.wait import found_when
from meterhouse.ledger import dimensions
from meterhouse.ledger.audit import Change
from meterhouse.ledger.dimensions import DimensionChange, RebuiltMonth
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire import refusals
from meterhouse.wire.expand import check_expand
from meterhouse.wire.param_errors import missing_param
from meterhouse.wire.params import Items, RequestParams


class DimensionsUpdate(RequestParams):
    """The keys that are to be dimensions; an empty string is for none at all."""

    dimension_payload_keys: (
        Annotated[
            list[str], Items(limits.METER_DIMENSION_KEYS_MAX, limits.METER_PAYLOAD_KEY_CHARS_MAX)
        ]
        | UnsetType
        | None
    ) = UNSET


async def retrieve(call: Call) -> Answer:
    """Show the dimensions of a meter, and how far their last change is."""
    check_expand(call.params(RequestParams).expand)
    return ok(await call.read(_document, call))


async def update(call: Call) -> Answer:
    """Change the dimensions of a meter; the answer waits a moment for the end."""
    params = call.params(DimensionsUpdate)
    check_expand(params.expand)
    if params.dimension_payload_keys is UNSET:
        raise missing_param("dimension_payload_keys")
    keys = tuple(dict.fromkeys(params.dimension_payload_keys or ())) or None

    def work(connection: sa.Connection) -> Answer:
        meter = meters.find(connection, call)
        last = dimensions.newest(connection, meter.id)
        if last is not None and last.status == "running":
            raise refusals.dimensions_changing(meter.id)
        if keys != meter.dimension_keys:
            dimensions.begin(
                connection,
                DimensionChange(
                    scope=call.scope.id,
                    meter=meter.id,
                    version=meter.dimension_version + 1,
                    keys=keys,
                    created=call.now,
                ),
            )
            what = {"dimension_payload_keys": Change(meter.dimension_keys, keys)}
            call.note(connection, "meter.dimensions_changed", meter.id, what)
        return ok(_document(connection, call))

    answer = await once(call, work)
    call.services.signals.send("rebuild")
    document = await found_when(
        lambda: call.read(_document, call),
        lambda document: document["change"] is None or document["change"]["status"] == "complete",
        limits.REBUILD_ANSWER_SECONDS_MAX,
    )
    return answer._replace(body=ok(document).body)


def _document(connection: sa.Connection, call: Call) -> dict[str, Any]:
    meter = meters.find(connection, call)
    change = dimensions.newest(connection, meter.id)
    months = dimensions.months(connection, change) if change else []
    return {
        "object": "meterhouse.meter_dimensions",
        "change": _change(change, months) if change else None,
        "dimension_payload_keys": meter.dimension_keys,
        "livemode": call.scope.livemode,
        "meter": meter.id,
    }


def _change(change: DimensionChange, months: list[RebuiltMonth]) -> dict[str, Any]:
    """Tell how far a change is; what comes while it runs may be more than was counted first."""
    total = change.events_total or 0
    done = sum(one.events for one in months)
    return {
        "completed_at": seconds_or_none(change.completed_at),
        "created": seconds(change.created),
        "dimension_payload_keys": change.keys,
        "events_done": total if change.status == "complete" else min(done, total),
        "events_total": change.events_total,
        "status": change.status,
    }
