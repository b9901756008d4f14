"""What the tests about subscriptions make and send again and again."""

import time
from datetime import UTC, datetime
from typing import Any

import httpx
import stripe

from tests.api.samples import make_meter, send


def at(text: str) -> int:
    """Return an instant in unix seconds, such as of `2027-01-31` or `2027-01-31T10:00`."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


class Shop:
    """An account with a meter, prices by it and of seats, and a customer with a test clock."""

    def __init__(self, client: stripe.StripeClient, http: httpx.Client, start: str) -> None:
        self.client = client
        self.http = http
        self.start = at(start)
        self.meter = make_meter(client)
        self.product = client.v1.products.create({"name": "Calls"}).id
        clocks = client.v1.test_helpers.test_clocks
        self.clock = clocks.create({"frozen_time": self.start}).id
        self.customer = client.v1.customers.create({"test_clock": self.clock}).id

    def metered(self, amount: int = 4, interval: str = "month") -> str:
        """Make a price by usage."""
        return self.price(
            amount, recurring={"interval": interval, "usage_type": "metered", "meter": self.meter}
        )

    def seats(self, amount: int = 1_000, interval: str = "month") -> str:
        """Make a price by quantity."""
        return self.price(amount, recurring={"interval": interval})

    def price(self, amount: int, currency: str = "usd", **more: Any) -> str:
        """Make a price."""
        params: Any = {"currency": currency, "product": self.product, "unit_amount": amount}
        return self.client.v1.prices.create(params | more).id

    def subscribe(self, *prices: str, **more: Any) -> stripe.Subscription:
        """Subscribe the customer."""
        params: Any = {"customer": self.customer, "items": [{"price": one} for one in prices]}
        return self.client.v1.subscriptions.create(params | more)

    def use(self, value: int, when: str) -> None:
        """Send usage of the customer, at an instant."""
        send(self.client, self.customer, str(value), timestamp=at(when))

    def types(self, *but: str) -> list[str]:
        """Return the types of the events about subscriptions and invoices, oldest first."""
        found = [event.type for event in self.client.v1.events.list({"limit": 100}).data]
        wanted = ("customer.subscription.", "invoice.", "invoiceitem.")
        return [one for one in reversed(found) if one.startswith(wanted) and one not in but]

    def refused(self, path: str, data: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        """Send a request that is refused, and return its error with the status."""
        answer = self.http.request(method, path, data=data)
        error: dict[str, Any] = answer.json()["error"]
        return {"status": answer.status_code} | error

    def advance(self, to: str) -> None:
        """Move the clock, and wait until it has arrived."""
        clocks = self.client.v1.test_helpers.test_clocks
        clocks.advance(self.clock, {"frozen_time": at(to)})
        for _ in range(1_000):
            if clocks.retrieve(self.clock).status == "ready":
                return
            time.sleep(0.01)  # it tells by an event only, which is no way to wait
        raise AssertionError("the clock has not arrived")

    def show(self, one: str) -> dict[str, Any]:
        """Return a subscription as it is now, with its latest invoice."""
        params = {"expand[]": "latest_invoice"}
        shown: dict[str, Any] = self.http.get(f"/v1/subscriptions/{one}", params=params).json()
        return shown

    def change(self, one: str, what: str = "", **data: Any) -> dict[str, Any]:
        """Change a subscription, and return it as `show` does."""
        path = f"/v1/subscriptions/{one}{what}"
        answer = self.http.post(path, data={"expand[]": "latest_invoice", **data})
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown
