"""Resending: rejected events that are sent again once the cause is gone.

An event keeps its identifier, its timestamp and its payload unless they are replaced; it is
received anew, and judged anew by its event name.
"""

from collections.abc import Iterable

import msgspec

from meterhouse.metering.model import MeterEvent
from meterhouse.metering.search import EventSearch, FoundEvent


class Replacement(msgspec.Struct, frozen=True, kw_only=True):
    """What is different in every resent event; `payload` has the keys that are set.

    `timestamp` is in milliseconds.
    """

    event_name: str | None = None
    timestamp: int | None = None
    payload: dict[str, str] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which rejected events are resent, and how; `whole` tells that values must be whole numbers.

    Of several events with one identifier only the one received last is resent.
    """

    search: EventSearch
    replacement: Replacement
    whole: bool

    def event(self, rejected: FoundEvent, received_at: int, resend_of: int | None) -> MeterEvent:
        """Return a rejected event as it is sent again; `resend_of` is that of `MeterEvent`."""
        changes = self.replacement
        return MeterEvent(
            self.search.scope.id,
            rejected.identifier,
            changes.event_name or rejected.event_name,
            rejected.timestamp if changes.timestamp is None else changes.timestamp,
            received_at,
            rejected.payload | changes.payload,
            None,
            self.whole,
            resend_of,
        )


def received_last(events: Iterable[FoundEvent], newest: dict[str, int]) -> list[FoundEvent]:
    """Return those events that are the newest ones with their identifiers."""
    return [event for event in events if newest[event.identifier] == event.position]
