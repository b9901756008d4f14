"""The sender's own books: what it was told, and what the server must therefore say."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from tests.metering.oracle import Oracle, OracleEvent, OracleMeter

DAY_SECONDS = 86_400


class Intent(NamedTuple):
    """An event that a sender wants counted; `outcome` is what the judge will make of it.

    The identifier is empty where the server shall choose one.
    """

    meter: OracleMeter
    customer: str
    identifier: str
    value: str
    timestamp: int  # in seconds
    outcome: str

    def form(self) -> dict[str, str]:
        """Return the parameters of the request."""
        return {
            "event_name": self.meter.event_name,
            "identifier": self.identifier,
            "timestamp": str(self.timestamp),
            **{f"payload[{key}]": text for key, text in self._payload().items()},
        }

    def document(self) -> dict[str, Any]:
        """Return the event as one of a stream."""
        named = {"identifier": self.identifier} if self.identifier else {}
        return named | {
            "event_name": self.meter.event_name,
            "timestamp": datetime.fromtimestamp(self.timestamp, UTC).isoformat(),
            "payload": self._payload(),
        }

    def _payload(self) -> dict[str, str]:
        payload = {"stripe_customer_id": self.customer, "value": self.value}
        return {key: text for key, text in payload.items() if text}


class Books:
    """Every event that was acknowledged, for each customer in the order of receipt.

    A sender cannot know one thing: whether a stream without an idempotency key was taken, too, when
    its answer was lost. Nothing counts twice by that, but `unsure` is how many more events the
    server may have acknowledged, as duplicates or rejected.

    `rejected_frees` tells that an event which was sent alone and rejected leaves its identifier to
    those of streams, as it does where several servers share a ledger.
    """

    def __init__(
        self, meters: list[OracleMeter], customers: list[str], *, rejected_frees: bool = False
    ) -> None:
        self.meters = meters
        self._rejected_frees = rejected_frees
        self.customers = customers
        self.outcomes: Counter[str] = Counter()
        self.unsure: Counter[str] = Counter()
        self._taken: set[str] = set()  # identifiers
        self._of = {customer: _oracle(meters, customer) for customer in customers}

    def add(self, intent: Intent) -> OracleEvent:
        """Enter an event that was acknowledged alone: it took its identifier at once."""
        assert intent.identifier not in self._taken
        if intent.outcome == "accepted" or not self._rejected_frees:
            self._taken.add(intent.identifier)
        return self._enter(intent, intent.outcome)

    def add_stream(self, intents: Sequence[Intent], lost: int) -> list[OracleEvent]:
        """Enter the events of an acknowledged stream that may have been taken `lost` times more.

        An event that is rejected leaves its identifier free.
        """
        events = []
        for intent in intents:
            valid = intent.outcome == "accepted"
            duplicate = valid and intent.identifier in self._taken
            events.append(self._enter(intent, "duplicate" if duplicate else intent.outcome))
            if valid and intent.identifier:
                self._taken.add(intent.identifier)
            self.unsure["acknowledged"] += lost
            self.unsure["duplicate" if valid else "rejected"] += lost
        return events

    def _enter(self, intent: Intent, outcome: str) -> OracleEvent:
        self.outcomes[outcome] += 1
        event = OracleEvent(
            intent.meter,
            intent.identifier,
            {"stripe_customer_id": intent.customer},
            intent.timestamp * 1000,
            received_at=0,
            outcome=outcome,
        )
        if outcome == "accepted":
            if intent.meter.formula != "count":
                event.value = Decimal(intent.value)
            self._of[intent.customer].events.append(event)
        return event

    def cancel(self, event: OracleEvent) -> None:
        """Enter a cancellation that was acknowledged."""
        assert not event.cancelled
        event.cancelled = True
        self.outcomes["cancelled"] += 1

    def check(self, told: dict[str, int]) -> None:
        """Check the numbers that `meterhouse verify` prints."""
        counted = {name: self.outcomes[name] for name in ("accepted", "duplicate", "cancelled")}
        acknowledged = self.outcomes.total() - counted["cancelled"]
        rejected = acknowledged - counted["accepted"] - counted["duplicate"]
        sure = counted | {"acknowledged": acknowledged, "rejected": rejected, "pending": 0}
        for name, least in sure.items():
            assert least <= told[name] <= least + self.unsure[name], (name, told, sure, self.unsure)
        assert told["acknowledged"] == told["accepted"] + told["duplicate"] + told["rejected"]

    def summaries(
        self, meter: OracleMeter, customer: str, start: int, end: int, window: str | None
    ) -> list[tuple[int, int, Decimal]]:
        """Return (start, end, value) in seconds, as the server must answer."""
        points = self._of[customer].summaries(meter.id, customer, start * 1000, end * 1000, window)
        return [(first // 1000, last // 1000, value) for first, last, value in points]


def _oracle(meters: list[OracleMeter], customer: str) -> Oracle:
    return Oracle(meters={meter.id: meter for meter in meters}, customers={customer})
