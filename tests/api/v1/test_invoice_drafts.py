"""Drafts of a period: they follow usage until they are finalized, and never afterwards."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import HOUR, error_of, make_meter, send
from tests.api.v1.test_invoices import act, made, shown, told
from tests.api.v1.test_test_clocks import ready

JANUARY, FEBRUARY = 1_798_761_600, 1_801_440_000  # of 2027


class Subscribed:
    """Somebody whose tokens cost 4 a piece, and whose first month has just ended."""

    def __init__(self, client: stripe.StripeClient, http: httpx.Client, **more: Any) -> None:
        self.client, self.http = client, http
        v1 = client.v1
        self.meter = make_meter(client)
        self.clock = v1.test_helpers.test_clocks.create({"frozen_time": JANUARY}).id
        self.customer = v1.customers.create({"test_clock": self.clock, "name": "Ada"}).id
        price = v1.prices.create(
            {
                "currency": "usd",
                "unit_amount": 4,
                "recurring": {"interval": "month", "usage_type": "metered", "meter": self.meter},
                "product_data": {"name": "Tokens", "unit_label": "token"},
            }
        ).id
        params: Any = {
            "customer": self.customer,
            "items": [{"price": price}],
            "metadata": {"plan": "gold"},
        }
        self.subscription = v1.subscriptions.create(params | more).id
        self.use(10)
        self.advance(FEBRUARY)
        self.invoice: str = v1.invoices.list({"subscription": self.subscription}).data[0].id

    def use(self, value: int, at: int = JANUARY) -> None:
        send(self.client, self.customer, str(value), timestamp=at)

    def advance(self, to: int) -> None:
        self.client.v1.test_helpers.test_clocks.advance(self.clock, {"frozen_time": to})
        ready(self.client, self.clock)

    def amounts(self) -> list[int]:
        return [line["amount"] for line in self.now()["lines"]["data"]]

    def now(self) -> dict[str, Any]:
        return shown(self.http, self.invoice)


@pytest.fixture
def ada(client: stripe.StripeClient, http: httpx.Client) -> Subscribed:
    return Subscribed(client, http)


def test_a_draft_follows_usage_until_it_is_finalized(ada: Subscribed) -> None:
    draft = ada.now()
    assert (draft["status"], draft["billing_reason"]) == ("draft", "subscription_cycle")
    assert (draft["total"], draft["created"]) == (40, FEBRUARY)
    assert (draft["period_start"], draft["period_end"]) == (JANUARY, FEBRUARY)
    assert draft["parent"]["subscription_details"] == {
        "metadata": {"plan": "gold"},
        "subscription": ada.subscription,
    }
    (line,) = draft["lines"]["data"]
    assert line["description"] == "10 token × Tokens (at $0.04 / month)"
    ada.use(3, at=FEBRUARY - 1)
    ada.use(100, at=FEBRUARY)  # which is the next period's
    now = ada.now()
    assert (now["total"], now["lines"]["data"][0]["id"]) == (52, line["id"])
    listed = ada.client.v1.invoices.list({"customer": ada.customer}).data
    assert [one.total for one in listed] == [52]
    lines = made(ada.http.get(draft["lines"]["url"]))["data"]
    assert [one["quantity"] for one in lines] == [13]
    ada.use(2, at=FEBRUARY - 2)
    final = made(act(ada.http, ada.invoice, "finalize"))
    assert (final["status"], final["total"], final["amount_due"]) == ("open", 60, 60)
    assert final["status_transitions"]["finalized_at"] == FEBRUARY
    assert final["lines"]["data"][0]["description"] == "15 token × Tokens (at $0.04 / month)"
    ada.use(50, at=FEBRUARY - 3)
    assert ada.now() == final
    assert told(ada.client, ada.invoice) == ["created", "updated", "finalized"]
    updated = ada.client.v1.events.list({"type": "invoice.updated"}).data[0]
    assert updated.data.previous_attributes is not None
    assert updated.data.previous_attributes["total"] == 40


def test_what_is_done_to_a_draft_shows_usage_as_it_is(ada: Subscribed) -> None:
    ada.use(3)
    path = f"/v1/invoices/{ada.invoice}"
    changed = made(ada.http.post(path, data={"metadata[a]": "b"}))
    assert (changed["total"], changed["metadata"]) == (52, {"a": "b"})
    more = {"lines[0][amount]": "7", "lines[0][description]": "Help"}
    added = made(ada.http.post(f"{path}/add_lines", data=more))
    assert [line["amount"] for line in added["lines"]["data"]] == [52, 7]
    ada.use(1)
    assert (ada.amounts(), ada.now()["total"]) == ([56, 7], 63)
    assert made(act(ada.http, ada.invoice, "finalize"))["total"] == 63
    assert ada.amounts() == [56, 7]


def test_what_is_written_onto_a_line_of_usage_stays(ada: Subscribed) -> None:
    path, line = f"/v1/invoices/{ada.invoice}", ada.now()["lines"]["data"][0]
    assert line["metadata"] == {"plan": "gold"}
    data = {"metadata[plan]": "", "metadata[po]": "7"}
    assert made(ada.http.post(f"{path}/lines/{line['id']}", data=data))["metadata"] == {"po": "7"}
    ada.use(1)
    assert ada.now()["lines"]["data"][0]["metadata"] == {"po": "7"}
    final = made(act(ada.http, ada.invoice, "finalize"))
    assert final["lines"]["data"][0]["metadata"] == {"po": "7"}
    for way, more in (
        (f"lines/{line['id']}", {"amount": "1"}),
        ("remove_lines", {"lines[0][id]": line["id"], "lines[0][behavior]": "delete"}),
    ):
        error_of(ada.http.post(f"{path}/{way}", data=more), 400)


REFUSED: list[tuple[Callable[[Subscribed], httpx.Response], str]] = [
    (
        lambda ada: act(ada.http, ada.invoice, "delete"),
        "You can't delete invoices created by subscriptions.",
    ),
    (
        lambda ada: ada.http.post(
            f"/v1/invoices/{ada.invoice}/lines/{ada.now()['lines']['data'][0]['id']}",
            data={"amount": "1"},
        ),
        "The line is owed by a subscription, so only its text can be changed.",
    ),
    (
        lambda ada: ada.http.post(
            f"/v1/invoices/{ada.invoice}/remove_lines",
            data={
                "lines[0][id]": ada.now()["lines"]["data"][0]["id"],
                "lines[0][behavior]": "delete",
            },
        ),
        "The line is owed by a subscription, so only its text can be changed.",
    ),
]


def test_what_a_subscription_owes_stays(ada: Subscribed) -> None:
    before = ada.now()
    for refused, message in REFUSED:
        assert error_of(refused(ada), 400)["message"] == message
    assert ada.now() == before


def test_time_finalizes_a_draft_after_an_hour(ada: Subscribed) -> None:
    ada.use(3, at=FEBRUARY - 1)
    ada.advance(FEBRUARY + HOUR)
    now = ada.now()
    assert (now["status"], now["total"]) == ("open", 52)
    assert now["number"].endswith("-0001")
    assert now["effective_at"] == FEBRUARY + HOUR
    paid = made(act(ada.http, ada.invoice, "pay", paid_out_of_band="true"))
    assert paid["status_transitions"]["paid_at"] == FEBRUARY + HOUR


def test_a_draft_that_is_not_to_advance_stays_one(ada: Subscribed) -> None:
    path = f"/v1/invoices/{ada.invoice}"
    made(ada.http.post(path, data={"auto_advance": "false"}))
    ada.advance(FEBRUARY + 10 * HOUR)
    assert ada.now()["status"] == "draft"
    chosen = FEBRUARY + 20 * HOUR
    made(ada.http.post(path, data={"automatically_finalizes_at": str(chosen)}))
    ada.advance(chosen - 1)
    assert ada.now()["status"] == "draft"
    ada.advance(chosen)
    assert ada.now()["status"] == "open"


def test_items_of_a_clock_live_in_its_time(ada: Subscribed) -> None:
    waiting = ada.client.v1.invoice_items.create(
        {"customer": ada.customer, "amount": 7, "currency": "usd"}
    )
    assert (waiting.date, waiting.test_clock) == (FEBRUARY, ada.clock)
    invoice = ada.client.v1.invoices.create(
        {"customer": ada.customer, "pending_invoice_items_behavior": "include"}
    )
    assert (invoice.created, invoice.test_clock, invoice.total) == (FEBRUARY, ada.clock, 7)
    ada.client.v1.invoices.update(invoice.id, {"auto_advance": True})
    ada.advance(FEBRUARY + HOUR)
    assert shown(ada.http, invoice.id)["status"] == "open"


def test_the_next_period_takes_along_what_waits(ada: Subscribed) -> None:
    v1 = ada.client.v1
    waiting = v1.invoice_items.create(
        {"customer": ada.customer, "amount": 7, "currency": "usd", "description": "Help"}
    )
    ada.use(5, at=FEBRUARY)
    ada.advance(1_803_859_200)  # March 1
    invoice = v1.invoices.list({"subscription": ada.subscription}).data[0]
    assert [(line.description, line.amount) for line in invoice.lines.data] == [
        ("Help", 7),
        ("5 token × Tokens (at $0.04 / month)", 20),
    ]
    assert v1.invoice_items.retrieve(waiting.id).invoice == invoice.id


def test_what_an_invoice_belongs_to_is_expanded(ada: Subscribed) -> None:
    path = f"/v1/invoices/{ada.invoice}"
    names = ["test_clock", "customer", "parent.subscription_details.subscription"]
    now = made(ada.http.get(path, params={"expand[]": names}))
    owed = now["parent"]["subscription_details"]["subscription"]
    assert (owed["id"], owed["object"]) == (ada.subscription, "subscription")
    assert (now["test_clock"]["id"], now["customer"]["id"]) == (ada.clock, ada.customer)
    listed = ada.http.get("/v1/invoices", params={"expand[]": [f"data.{name}" for name in names]})
    assert made(listed)["data"][0] == now
    old = {"Stripe-Version": "2025-02-24.acacia"}
    then = made(ada.http.get(path, params={"expand[]": "subscription"}, headers=old))
    assert then["subscription"]["id"] == ada.subscription
    (line,) = then["lines"]["data"]
    assert (line["type"], line["price"]["recurring"]["meter"]) == ("subscription", ada.meter)
    assert (line["plan"]["meter"], line["unit_amount_excluding_tax"]) == (ada.meter, "4")
    lines = made(ada.http.get(f"{path}/lines", headers=old))["data"]
    assert lines == [line]


@pytest.mark.parametrize(
    ("action", "data"),
    [("pay", {"paid_out_of_band": "true"}), ("void", {}), ("mark_uncollectible", {})],
)
def test_a_subscription_is_past_due_until_its_invoice_is_settled(
    client: stripe.StripeClient, http: httpx.Client, action: str, data: dict[str, str]
) -> None:
    bob = Subscribed(client, http, collection_method="send_invoice", days_until_due=3)
    made(act(http, bob.invoice, "finalize"))
    bob.advance(FEBRUARY + 73 * HOUR)
    retrieve = client.v1.subscriptions.retrieve
    assert retrieve(bob.subscription).status == "past_due"
    made(act(http, bob.invoice, action, **data))
    assert retrieve(bob.subscription).status == "active"
    event = client.v1.events.list({"type": "customer.subscription.updated"}).data[0]
    assert event.data.previous_attributes is not None
    assert event.data.previous_attributes.to_dict() == {"status": "past_due"}


def test_what_is_finalized_while_collection_is_paused_is_void(ada: Subscribed) -> None:
    ada.client.v1.subscriptions.update(ada.subscription, {"pause_collection": {"behavior": "void"}})
    assert made(act(ada.http, ada.invoice, "finalize"))["status"] == "void"
    assert told(ada.client, ada.invoice) == ["created", "finalized", "voided"]
