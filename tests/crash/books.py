"""The sender's own books: what it was told, and what the server must therefore say."""

from collections import Counter
from decimal import Decimal
from typing import NamedTuple

from tests.metering.oracle import Oracle, OracleEvent, OracleMeter

DAY_SECONDS = 86_400


class Intent(NamedTuple):
    """An event that a sender wants counted; `outcome` is what the judge will make of it."""

    meter: OracleMeter
    customer: str
    identifier: str
    value: str
    timestamp: int  # in seconds
    outcome: str

    def form(self) -> dict[str, str]:
        """Return the parameters of the request."""
        payload = {"stripe_customer_id": self.customer, "value": self.value}
        return {
            "event_name": self.meter.event_name,
            "identifier": self.identifier,
            "timestamp": str(self.timestamp),
            **{f"payload[{key}]": text for key, text in payload.items() if text},
        }


class Books:
    """Every event that was acknowledged, for each customer in the order of receipt."""

    def __init__(self, meters: list[OracleMeter], customers: list[str]) -> None:
        self.meters = meters
        self.customers = customers
        self.outcomes: Counter[str] = Counter()
        self._of = {customer: _oracle(meters, customer) for customer in customers}

    def add(self, intent: Intent) -> OracleEvent:
        """Enter an event that was acknowledged."""
        self.outcomes[intent.outcome] += 1
        event = OracleEvent(
            intent.meter,
            intent.identifier,
            {"stripe_customer_id": intent.customer},
            intent.timestamp * 1000,
            received_at=0,
            outcome=intent.outcome,
        )
        if intent.outcome == "accepted":
            if intent.meter.formula != "count":
                event.value = Decimal(intent.value)
            self._of[intent.customer].events.append(event)
        return event

    def cancel(self, event: OracleEvent) -> None:
        """Enter a cancellation that was acknowledged."""
        assert not event.cancelled
        event.cancelled = True
        self.outcomes["cancelled"] += 1

    @property
    def line(self) -> dict[str, int]:
        """What `meterhouse verify` must print of these books."""
        acknowledged = self.outcomes.total() - self.outcomes["cancelled"]
        return {
            "acknowledged": acknowledged,
            "accepted": self.outcomes["accepted"],
            "duplicate": 0,
            "rejected": acknowledged - self.outcomes["accepted"],
            "pending": 0,
            "cancelled": self.outcomes["cancelled"],
        }

    def summaries(
        self, meter: OracleMeter, customer: str, start: int, end: int, window: str | None
    ) -> list[tuple[int, int, Decimal]]:
        """Return (start, end, value) in seconds, as the server must answer."""
        points = self._of[customer].summaries(meter.id, customer, start * 1000, end * 1000, window)
        return [(first // 1000, last // 1000, value) for first, last, value in points]


def _oracle(meters: list[OracleMeter], customer: str) -> Oracle:
    return Oracle(meters={meter.id: meter for meter in meters}, customers={customer})
