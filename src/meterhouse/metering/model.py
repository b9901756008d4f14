"""The nouns of metering, as plain values.

Instants are milliseconds since the epoch. A *scope* is one account in one mode. A *position*
numbers acknowledged events in the order in which they were acknowledged, so "most recently
received" means "highest position".
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec

Formula = Literal["count", "last", "sum"]
EventTimeWindow = Literal["day", "hour"]
TimedBy = Literal["clock", "receipt", "sender"]


class Scope(msgspec.Struct, frozen=True):
    """One account in one mode: the wall between books. `id` is its number in the ledger."""

    id: int
    account: str
    livemode: bool


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """How events of one name become usage (https://docs.stripe.com/api/billing/meter/object).

    `dimension_version` numbers the keys that the meter has declared, one set after the other.
    """

    id: str
    scope: int
    event_name: str
    display_name: str
    formula: Formula
    event_time_window: EventTimeWindow | None
    customer_key: str
    value_key: str
    dimension_keys: tuple[str, ...] | None
    active: bool
    created: int
    updated: int
    deactivated_at: int | None
    dimension_version: int = 1

    @property
    def slotted(self) -> bool:
        """Whether usage adds up from slot to slot, so that slots are kept."""
        return self.formula != "last" and self.event_time_window is None

    def customer_of(self, payload: Mapping[str, str]) -> str:
        """Return whose usage a payload tells of; empty where it does not say."""
        return payload.get(self.customer_key, "")


class MeterEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An acknowledged event, as the journal holds it.

    `meter` is the id of the meter that the request was checked against, or None when the request
    was not checked (the stream). `whole` tells that only whole-number values count. `resend_of` is
    the position of the rejected event whose claim on the identifier does not stand against this
    one, which is the same event sent again. `timed_by` tells whose word the timestamp is: that of
    the sender; of the receipt, where none was sent; or of the customer's test clock, which the
    request has been checked against.
    """

    scope: int
    identifier: str
    event_name: str
    timestamp: int
    received_at: int
    payload: dict[str, str]
    meter: str | None
    whole: bool
    resend_of: int | None = None
    timed_by: TimedBy = "sender"


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted event as the usage store holds it; what a cancellation negates."""

    position: int
    account: str
    livemode: bool
    meter: str
    customer: str
    timestamp: int
    received_at: int
    event_name: str
    identifier: str
    value: Decimal
    payload: dict[str, str]
