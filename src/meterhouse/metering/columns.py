"""Events as columns: tens of thousands of them, without an object for each.

A Python event is a dozen objects, so whoever looks at one after the other spends more on reaching
them than on what is done with them. Here a field of all events is one array. What has few distinct
values is *coded* (`metering.coded`): the values once, and for each event the number of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from itertools import accumulate, chain
from typing import Self

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from meterhouse.metering.coded import NONE, Coded, HashableT, Mask, Numbers, coded, distinct
from meterhouse.metering.identifier import identifier_digests
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.part import Head, Kind, Part, Shape, Texts
from meterhouse.metering.window import MILLISECONDS

VALUE = pa.decimal128(38, 15)


class Events:
    """Acknowledged events in some order; each field of `MeterEvent` is a column, or told by one.

    A *head* is what many events have alike, a *shape* the keys of a payload in their order. `items`
    are the values of all payloads, one after the other.
    """

    def __init__(
        self,
        positions: Numbers,
        heads: Coded[Head],
        received: Numbers,
        timestamps: Numbers,
        identifiers: pa.StringArray,
        resend_of: Numbers,
        shapes: Coded[Shape],
        items: pa.StringArray,
    ) -> None:
        self.positions = positions
        self.heads = heads
        self.received = received
        self.timestamps = timestamps
        self.identifiers = identifiers
        self.resend_of = resend_of
        self.shapes = shapes
        self.items = items
        self._under: dict[str, Coded[str]] = {}

    @classmethod
    def of(cls, positions: Sequence[int], events: Sequence[MeterEvent]) -> Self:
        """Make columns of events and their positions."""
        return cls.of_parts(np.array(positions, np.int64), [Part.of(events)])

    @classmethod
    def of_parts(cls, positions: Numbers, parts: Sequence[Part]) -> Self:
        """Make columns of packed events, one part after the other, and their positions."""
        counts = [part.events for part in parts]
        resend_of = np.full(len(positions), NONE)
        for first, part in zip(accumulate(counts, initial=0), parts, strict=False):
            for number, position in part.resent:
                resend_of[first + number] = position
        return cls(
            positions,
            _coded_parts([part.heads for part in parts], [part.head for part in parts], counts),
            _together([part.received for part in parts], "<i8"),
            _together([part.timestamps for part in parts], "<i8"),
            _texts_together([part.identifiers for part in parts]),
            resend_of,
            _coded_parts([part.shapes for part in parts], [part.shape for part in parts], counts),
            _texts_together([part.items for part in parts]),
        )

    def joined(self, other: Self) -> Self:
        """Return these events and others behind them."""
        return type(self)(
            np.concatenate([self.positions, other.positions]),
            self.heads.joined(other.heads),
            np.concatenate([self.received, other.received]),
            np.concatenate([self.timestamps, other.timestamps]),
            pa.concat_arrays([self.identifiers, other.identifiers]),
            np.concatenate([self.resend_of, other.resend_of]),
            self.shapes.joined(other.shapes),
            pa.concat_arrays([self.items, other.items]),
        )

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, numbers: Numbers) -> Self:
        """Return some of the events."""
        widths, starts = self._widths[numbers], self._offsets[numbers]
        entries = _ranges(starts, widths)
        return type(self)(
            self.positions[numbers],
            self.heads.take(numbers),
            self.received[numbers],
            self.timestamps[numbers],
            self.identifiers.take(pa.array(numbers)),
            self.resend_of[numbers],
            self.shapes.take(numbers),
            self.items.take(pa.array(entries)),
        )

    def timed(self, timestamps: Numbers) -> Self:
        """Return the events with other timestamps."""
        timed = copy(self)
        timed.timestamps = timestamps
        return timed

    def one_by_one(self) -> Iterator[MeterEvent]:
        """Yield the events as objects, where they are few."""
        items, ends = self.items.to_pylist(), self._offsets[1:].tolist()
        for number, identifier in enumerate(self.identifiers.to_pylist()):
            scope, event_name, meter, whole, timed_by = self.heads.of(number)
            shape, resend_of = self.shapes.of(number), int(self.resend_of[number])
            yield MeterEvent(
                scope,
                identifier,
                event_name,
                int(self.timestamps[number]),
                int(self.received[number]),
                dict(zip(shape, items[ends[number] - len(shape) :], strict=False)),
                meter,
                whole,
                None if resend_of == NONE else resend_of,
                timed_by,
            )

    @cached_property
    def scopes(self) -> Coded[int]:
        """Their scopes."""
        return self._told([head.scope for head in self.heads.values])

    @cached_property
    def names(self) -> Coded[str]:
        """Their event names."""
        return self._told([head.event_name for head in self.heads.values])

    @cached_property
    def kinds(self) -> Coded[Kind]:
        """Their kinds."""
        return self._told(
            [Kind(head.scope, head.event_name, head.meter) for head in self.heads.values]
        )

    @cached_property
    def alone(self) -> Mask:
        """Tell which were submitted alone: those whose request was checked against a meter."""
        return self.which([head.meter is not None for head in self.heads.values])

    def which(self, heads: Sequence[bool]) -> Mask:
        """Tell of which events something is true, which is told of each of the `heads`."""
        return np.array(heads, np.bool_)[self.heads.numbers]

    @cached_property
    def digests(self) -> list[bytes]:
        """The digests of their identifiers."""
        scopes = np.array(self.scopes.values, np.int64)[self.scopes.numbers]
        return identifier_digests(scopes.tolist(), self.identifiers.cast(pa.binary()).to_pylist())

    @property
    def days(self) -> Numbers:
        """The UTC days on which they were received, counted from the epoch."""
        return self.received // MILLISECONDS["day"]

    def values(self, keys: Sequence[str | None], of: Numbers) -> pa.StringArray:
        """Return of each event the value that its payload has under a key, empty where it has none.

        `of` tells which of the `keys` that is; where it is None, or `of` is `NONE`, there is none.
        """
        if len(set(keys)) == 1 and not (of == NONE).any():
            places = [_place(keys[0], shape) for shape in self.shapes.values]
            at = np.array(places, np.int64)[self.shapes.numbers]
        else:
            [key, shape], which = distinct(of + 1, self.shapes.numbers)
            wanted = (None, *keys)
            places = [
                _place(wanted[one], self.shapes.values[two])
                for one, two in zip(key.tolist(), shape.tolist(), strict=True)
            ]
            at = np.array(places, np.int64)[which]
        missing = at == NONE
        if not missing.any():
            return self.items.take(pa.array(self._offsets[:-1] + at))
        found = pa.array(self._offsets[:-1] + at, mask=missing)
        return self.items.take(found).fill_null("")

    def coded_values(self, keys: Sequence[str], of: Numbers) -> Coded[str]:
        """Return the same coded; what all have under one key is remembered."""
        if len(set(keys)) == 1 and not (of == NONE).any():
            return self._coded_under(keys[0])
        return coded(self.values(keys, of))

    def _coded_under(self, key: str) -> Coded[str]:
        if key not in self._under:
            self._under[key] = coded(self.values([key], np.zeros(len(self), np.int64)))
        return self._under[key]

    def named_by(self, key: str) -> set[tuple[int, str]]:
        """Return, with their scopes, the texts that payloads have under a key; none is empty."""
        texts = self._coded_under(key)
        [scopes, numbers], _ = distinct(self.scopes.numbers, texts.numbers)
        found = zip(scopes.tolist(), numbers.tolist(), strict=True)
        return {
            (self.scopes.values[one], name) for one, two in found if (name := texts.values[two])
        }

    def payloads(self) -> pa.MapArray:
        """Return their payloads as a column of maps."""
        shapes = self.shapes.values
        firsts = np.fromiter(accumulate(map(len, shapes), initial=0), np.int64)
        keys = pa.array(list(chain.from_iterable(shapes)), pa.string())
        at = _ranges(firsts[self.shapes.numbers], self._widths)
        offsets = pa.array(self._offsets, pa.int32())
        return pa.MapArray.from_arrays(offsets, keys.take(pa.array(at)), self.items)

    @cached_property
    def _widths(self) -> Numbers:
        """How many entries each payload has."""
        widths = [len(shape) for shape in self.shapes.values]
        return np.array(widths, np.int64)[self.shapes.numbers]

    @cached_property
    def _offsets(self) -> Numbers:
        """Where the items of each payload begin, and where all end."""
        return np.concatenate(([0], np.cumsum(self._widths)))

    def _told(self, values: Sequence[HashableT]) -> Coded[HashableT]:
        """Return the column of what each of the heads tells."""
        places = {value: number for number, value in enumerate(dict.fromkeys(values))}
        numbers = np.array([places[value] for value in values], np.int64)
        return Coded(numbers[self.heads.numbers], list(places))


def _place(key: str | None, shape: Shape) -> int:
    return shape.index(key) if key in shape else NONE


def _ranges(starts: Numbers, widths: Numbers) -> Numbers:
    """Return the numbers from each start on, as many as its width, one range after the other."""
    ends = np.cumsum(widths)
    first: Numbers = np.repeat(starts - (ends - widths), widths)
    return first + np.arange(len(first))


def _together(columns: Sequence[bytes], kind: str) -> Numbers:
    return np.frombuffer(b"".join(columns), kind).astype(np.int64, copy=False)


def _texts_together(some: Sequence[Texts]) -> pa.StringArray:
    lengths = _together([one.lengths for one in some], "<u4")
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = b"".join([one.text for one in some])
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(data))


def _coded_parts(
    values: Sequence[Sequence[HashableT]], numbers: Sequence[bytes], counts: Sequence[int]
) -> Coded[HashableT]:
    """Make one coded column of those of several parts."""
    places: dict[HashableT, int] = {}
    numbered = [places.setdefault(one, len(places)) for some in values for one in some]
    firsts = list(accumulate(map(len, values), initial=0))[: len(values)]
    local = _together(numbers, "<u4") + np.repeat(
        np.array(firsts, np.int64), np.array(counts, np.int64)
    )
    return Coded(np.array(numbered, np.int64)[local], list(places))


def payload_column(payloads: Sequence[Mapping[str, str]]) -> pa.MapArray:
    """Make a column of maps from its parts, many times faster than from the maps themselves."""
    offsets = pa.array(accumulate(map(len, payloads), initial=0), pa.int32())
    keys = pa.array(list(chain.from_iterable(payloads)), pa.string())
    items = list(chain.from_iterable(payload.values() for payload in payloads))
    return pa.MapArray.from_arrays(offsets, keys, pa.array(items, pa.string()))
