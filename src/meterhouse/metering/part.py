"""Parts: events packed as columns, cheap to make of a few and to put together by the thousand.

A part is what one request, or one commit, has of events, as the journal keeps it. Whoever puts
parts together looks at the distinct *heads* and *shapes* of each, and at no event.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from struct import pack
from typing import NamedTuple, Self

import msgspec

from meterhouse.metering.model import MeterEvent, TimedBy

Shape = tuple[str, ...]  # the keys of a payload, in their order

_INSTANT_BYTES = 8


class Kind(NamedTuple):
    """What tells which meter events are for; its fields are those of an event."""

    scope: int
    event_name: str
    meter: str | None


class Head(NamedTuple):
    """What many events have alike; its fields are those of an event."""

    scope: int
    event_name: str
    meter: str | None
    whole: bool
    timed_by: TimedBy


class Texts(NamedTuple):
    """Texts one after the other, and how many bytes each of them has (numbers of 32 bits)."""

    text: bytes
    lengths: bytes

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Pack texts."""
        joined = "".join(texts)
        if joined.isascii():
            return cls(joined.encode(), numbers(map(len, texts)))
        encoded = [text.encode() for text in texts]
        return cls(b"".join(encoded), numbers(map(len, encoded)))


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Some events. Numbers have 32 bits, instants 64, the lowest byte first.

    `head` and `shape` tell for each event which of the `heads` and `shapes` are its own; `items`
    are the values of the payloads, in the order of their keys. `resent` has the numbers of events
    that are resent, and the positions of the rejected ones.
    """

    heads: list[Head]
    head: bytes
    received: bytes
    timestamps: bytes
    identifiers: Texts
    shapes: list[Shape]
    shape: bytes
    items: Texts
    resent: list[tuple[int, int]]

    @property
    def events(self) -> int:
        """How many they are."""
        return len(self.received) // _INSTANT_BYTES

    @classmethod
    def of(cls, events: Sequence[MeterEvent]) -> Self:
        """Pack events."""
        heads: dict[tuple[int, str, str | None, bool, TimedBy], int] = {}
        shapes: dict[Shape, int] = {}
        head = [
            heads.setdefault(
                (one.scope, one.event_name, one.meter, one.whole, one.timed_by), len(heads)
            )
            for one in events
        ]
        payloads = [one.payload for one in events]
        shape = [shapes.setdefault(tuple(payload), len(shapes)) for payload in payloads]
        return cls(
            [Head(*told) for told in heads],
            numbers(head),
            _instants([one.received_at for one in events]),
            _instants([one.timestamp for one in events]),
            Texts.of([one.identifier for one in events]),
            list(shapes),
            numbers(shape),
            Texts.of(list(chain.from_iterable([payload.values() for payload in payloads]))),
            [
                (number, one.resend_of)
                for number, one in enumerate(events)
                if one.resend_of is not None
            ],
        )


def numbers(values: Iterable[int]) -> bytes:
    """Pack numbers."""
    some = list(values)
    return pack(f"<{len(some)}I", *some)


def _instants(values: Sequence[int]) -> bytes:
    return pack(f"<{len(values)}q", *values)
