"""A team's own billing code, as it is for Stripe: from a product to an invoice, over a month's end.

Nothing but the official SDK is used, and a receiver of webhooks; time is moved by a test clock.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from tests.receiver import Receiver, receiving

HOUR, DAY = 3_600, 86_400


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


BEGIN, END = second("2027-01-31T10:00"), second("2027-02-28T10:00")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


class Team:
    """Whoever bills, with the SDK and a webhook endpoint of its own."""

    def __init__(self, client: stripe.StripeClient, receiver: Receiver, name: str) -> None:
        self.v1 = client.v1
        self._receiver = receiver
        self._path = f"/{name}"
        endpoint: Any = {
            "url": receiver.url + self._path,
            "enabled_events": ["invoice.*", "customer.subscription.*"],
        }
        self._secret = self.v1.webhook_endpoints.create(endpoint).secret
        meter: Any = {
            "display_name": "Credits",
            "event_name": "credits",
            "default_aggregation": {"formula": "sum"},
        }
        self.meter = self.v1.billing.meters.create(meter).id
        self.clock = self.v1.test_helpers.test_clocks.create({"frozen_time": BEGIN}).id
        self.customer = self.v1.customers.create({"test_clock": self.clock}).id

    def price(self, **extra: Any) -> str:
        """Make a price of a product that the meter measures, a month."""
        product = self.v1.products.create({"name": "Gitpod Usage", "unit_label": "credit"}).id
        params: Any = {
            "currency": "usd",
            "product": product,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": self.meter},
        }
        return self.v1.prices.create(params | extra).id

    def subscribe(self, *prices: str, **extra: Any) -> stripe.Subscription:
        params: Any = {"customer": self.customer, "items": [{"price": one} for one in prices]}
        return self.v1.subscriptions.create(params | extra)

    def use(self, value: str, timestamp: int | None = None) -> None:
        params: Any = {
            "event_name": "credits",
            "payload": {"stripe_customer_id": self.customer, "value": value},
        }
        if timestamp is not None:
            params["timestamp"] = timestamp
        self.v1.billing.meter_events.create(params)

    def advance(self, frozen_time: int) -> None:
        """Move the clock, and wait as everybody does."""
        clocks = self.v1.test_helpers.test_clocks
        clocks.advance(self.clock, {"frozen_time": frozen_time})
        for _ in range(3_000):
            if clocks.retrieve(self.clock).status == "ready":
                return
            time.sleep(0.02)  # it is in another process
        raise AssertionError("the clock does not arrive")

    def invoices(self) -> list[stripe.Invoice]:
        """Return the customer's invoices, oldest first."""
        return self.v1.invoices.list({"customer": self.customer}).data[::-1]

    def heard(self, count: int) -> list[stripe.Event]:
        """Return what the endpoint has heard, in the order in which it happened."""
        events = [
            stripe.Webhook.construct_event(one.body, one.headers["Stripe-Signature"], self._secret)
            for one in self._receiver.wait(count, self._path)
        ]
        order = {one.id: place for place, one in enumerate(self.v1.events.list({"limit": 100}))}
        return sorted(events, key=lambda one: -order[one.id])


@pytest.fixture
def team(client: stripe.StripeClient, receiver: Receiver, request: pytest.FixtureRequest) -> Team:
    return Team(client, receiver, request.node.name)


def texts(invoice: stripe.Invoice) -> list[tuple[str | None, int]]:
    return [(line.description, line.amount) for line in invoice.lines.data]


def test_a_month_of_usage_becomes_an_invoice_to_the_cent(team: Team) -> None:
    tiers = [
        {"up_to": 1_000, "unit_amount_decimal": "0", "flat_amount": 900},
        {"up_to": "inf", "unit_amount_decimal": "3.6", "flat_amount": 0},
    ]
    price = team.price(billing_scheme="tiered", tiers_mode="graduated", tiers=tiers)
    subscription = team.subscribe(price)
    assert (subscription.status, subscription.latest_invoice) == ("active", None)
    assert subscription.test_clock == team.clock
    team.use("1000")
    team.advance(BEGIN + 10 * DAY)
    team.use("30", BEGIN + 5 * DAY)
    team.use("0.75")
    team.advance(END)
    [draft] = team.invoices()
    assert (draft.status, draft.created) == ("draft", END)
    team.use("0.25", END - 1)  # late, and in time
    team.use("500")  # of the next month
    team.advance(END + HOUR)
    [invoice] = team.invoices()
    assert texts(invoice) == [
        ("1000 credit × Gitpod Usage (Tier 1 at $0.00 / month)", 0),
        ("Gitpod Usage (Tier 1 at $9.00 / month)", 900),
        ("31 credit × Gitpod Usage (Tier 2 at $0.036 / month)", 112),
        ("Gitpod Usage (Tier 2 at $0.00 / month)", 0),
    ]
    assert (invoice.status, invoice.total, invoice.amount_due) == ("open", 1_012, 1_012)
    assert (invoice.period_start, invoice.period_end) == (BEGIN, END)
    assert invoice.status_transitions.finalized_at == END + HOUR
    assert invoice.number is not None
    assert invoice.number.endswith("-0001")
    items = team.v1.subscriptions.retrieve(subscription.id)["items"]["data"]
    assert items[0]["current_period_start"] == END
    told = team.heard(6)
    assert [one.type for one in told] == [
        "customer.subscription.created",
        "invoice.upcoming",
        "customer.subscription.updated",
        "invoice.created",
        "invoice.updated",
        "invoice.finalized",
    ]
    assert told[1].data.object["total"] == 1_012 - 1  # 30.75 × 3.6 = 110.7
    assert told[3].data.object["id"] == invoice.id
    paid = team.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert (paid.status, paid.amount_remaining) == ("paid", 0)


def test_what_goes_wrong_is_still_billed_right(team: Team) -> None:
    """Given prices that change in mid-period and a cancellation, each event is billed once."""
    cheap, dear = team.price(unit_amount=10), team.price(unit_amount=15)
    subscription = team.subscribe(cheap)
    item = subscription["items"]["data"][0]["id"]
    team.advance(BEGIN + 4 * DAY)
    team.use("1000")
    team.advance(BEGIN + 14 * DAY)
    team.v1.subscriptions.update(
        subscription.id, {"items": [{"id": item, "price": dear}], "cancel_at_period_end": True}
    )
    team.use("7", BEGIN + 14 * DAY - 1)  # before the change, and sent after it
    team.use("500")
    team.advance(END + HOUR)
    [invoice] = team.invoices()
    assert texts(invoice) == [
        ("1007 credit × Gitpod Usage (at $0.10 / month)", 10_070),
        ("500 credit × Gitpod Usage (at $0.15 / month)", 7_500),
    ]
    assert (invoice.status, invoice.total) == ("open", 17_570)
    ended = team.v1.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", END)
    team.advance(END + 100 * DAY)
    assert len(team.invoices()) == 1


def test_a_clock_that_is_deleted_ends_what_lived_by_it(team: Team) -> None:
    subscription = team.subscribe(team.price(unit_amount=10))
    team.use("5")
    assert [one.id for one in team.v1.subscriptions.list().data] == []
    listed = team.v1.subscriptions.list({"test_clock": team.clock}).data
    assert [one.id for one in listed] == [subscription.id]
    team.v1.test_helpers.test_clocks.delete(team.clock)
    ended = team.v1.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", BEGIN)
    assert team.v1.customers.retrieve(team.customer).to_dict()["deleted"] is True
