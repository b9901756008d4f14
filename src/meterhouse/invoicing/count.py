"""Counts the usage of segments, of one or of thousands, as the usage store has it now.

What a reader may rely on:

- What had been stored before is counted, to the millisecond: whoever wants all that was
  acknowledged waits until processing has come that far, and counts then.
- Nothing is written. A segment is returned as it was given, but for what was counted and when.
- A meter whose dimensions change meanwhile loses nothing, because its former slots stay for
  `REBUILD_FORMER_SECONDS`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from meterhouse.billing.invoice import Segment
from meterhouse.ledger import meters
from meterhouse.metering.model import Scope
from meterhouse.metering.usage import PeriodQuery
from meterhouse.usage.store import UsageStore


class Asked(Protocol):
    """Both stores, asked by the server itself (`Stores`) or in the name of a request (`Call`)."""

    async def read(self, work: Callable[..., Any], /, *args: Any) -> Any:
        """Run `work(connection, …)` on a consistent view of the ledger."""

    async def usage(self, work: Callable[..., Any], /, *args: Any) -> Any:
        """Run `work(usage store, …)`."""


async def count(
    stores: Asked, scope: Scope, segments: Sequence[Segment], now: int
) -> list[Segment]:
    """Count segments of one scope; return them in their order, counted at `now`.

    That is the machine's time, whatever time their customers live in.
    """
    if not segments:
        return []
    asked = await stores.read(questions, segments)
    return await counted(stores, scope, segments, asked, now)


def questions(connection: sa.Connection, segments: Sequence[Segment]) -> list[PeriodQuery]:
    """Return what has to be asked to count segments, in their order."""
    known = meters.by_ids(connection, {one.meter for one in segments}) if segments else {}
    return [PeriodQuery(known[one.meter], one.customer, *one.usage_in) for one in segments]


async def counted(
    stores: Asked,
    scope: Scope,
    segments: Sequence[Segment],
    asked: Sequence[PeriodQuery],
    now: int,
) -> list[Segment]:
    """Count segments whose `questions` are known, as `count` does."""
    found = await stores.usage(UsageStore.periods, scope, asked) if asked else []
    return [
        msgspec.structs.replace(segment, usage=one.usage, events=one.events, counted_at=now)
        for segment, one in zip(segments, found, strict=True)
    ]
