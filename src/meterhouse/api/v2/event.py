"""The shape of a meter event in a v2 request, alone or in a stream."""

from typing import Annotated

from msgspec import Meta, Struct

from meterhouse import limits

EventName = Annotated[str, Meta(min_length=1, max_length=limits.METER_EVENT_NAME_CHARS_MAX)]
Identifier = Annotated[str, Meta(min_length=1, max_length=limits.EVENT_IDENTIFIER_CHARS_MAX)]
Payload = Annotated[
    dict[
        Annotated[str, Meta(max_length=limits.EVENT_PAYLOAD_KEY_CHARS_MAX)],
        Annotated[str, Meta(max_length=limits.EVENT_PAYLOAD_VALUE_CHARS_MAX)],
    ],
    Meta(max_length=limits.EVENT_PAYLOAD_KEYS_MAX),
]
Timestamp = str | int | float


class SentEvent(Struct, forbid_unknown_fields=True, gc=False):
    """A meter event as it was sent; `wire.timestamp` reads its timestamp."""

    event_name: EventName
    payload: Payload
    identifier: Identifier | None = None
    timestamp: Timestamp | None = None
