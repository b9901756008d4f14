"""A server for tests of what is billed, whose time and test clocks they move."""

from typing import Any

import msgspec

from meterhouse.billing import change
from meterhouse.billing.invoice import Invoice
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.invoicing.bill import recurrences_of
from meterhouse.invoicing.present import shown_at
from meterhouse.invoicing.turn import Terms, Turn, take
from meterhouse.ledger import accounts, invoice_lines, invoices, subscriptions, test_clocks
from meterhouse.ledger.announce import Cause
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams
from tests.api.local import LocalServer

CLOCKS = "/v1/test_helpers/test_clocks"


class World:
    """A server with a meter, and prices of it and of a licence."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        self.meter = local.meter("tokens")
        local.create("/v1/products", data={"id": "tokens", "name": "Tokens"})
        price = {"product": "tokens", "currency": "usd", "recurring[interval]": "month"}
        metered = {"recurring[usage_type]": "metered", "recurring[meter]": self.meter}
        self.metered: str = local.create("/v1/prices", data=price | metered | {"unit_amount": 4})[
            "id"
        ]
        self.licence: str = local.create("/v1/prices", data=price | {"unit_amount": 1_000})["id"]

    def clock(self, frozen_time: int) -> str:
        clock: str = self.local.create(CLOCKS, data={"frozen_time": frozen_time})["id"]
        return clock

    def customer(self, clock: str | None = None) -> str:
        data = {"test_clock": clock} if clock else {}
        customer: str = self.local.create("/v1/customers", data=data)["id"]
        return customer

    def subscribe(self, customer: str, *prices: str, **changes: Any) -> Subscription:
        """Let a customer be subscribed to prices, the metered one unless others are named."""
        with self.local.meterhouse.ledger.write() as connection:
            scopes = accounts.scopes_by_id(connection)
            query = "SELECT scope, test_clock FROM customers WHERE id = ?"
            scope, clock = connection.exec_driver_sql(query, (customer,)).one()
            now = shown_at(connection, scope, clock, self.local.clock.now())
            new = Subscription(
                id=new_id("sub"),
                scope=scope,
                customer=customer,
                test_clock=clock,
                status="active",
                currency="usd",
                mode="flexible",
                anchor=now,
                start=now,
                items=tuple(self._item(price, now) for price in prices or (self.metered,)),
                created=now,
            )
            new = msgspec.structs.replace(new, **changes)
            made = change.started(new, recurrences_of(connection, new), now)
            turn = Turn(before=None, change=made, at=now, events=("created",))
            return take(connection, Cause(scopes[scope], now), turn, [], self.terms)

    @property
    def terms(self) -> Terms:
        return Terms.of(self.local.meterhouse.services.config)

    def _item(self, price: str, now: int) -> Item:
        return Item(
            id=new_id("si"),
            price=price,
            quantity=None if price == self.metered else 1,
            period=Period(now, now),
            since=now,
            metadata={},
            created=now,
        )

    def use(self, customer: str, value: str, timestamp: int | None = None) -> None:
        data = {
            "event_name": "tokens",
            "payload[stripe_customer_id]": customer,
            "payload[value]": value,
        }
        at = {} if timestamp is None else {"timestamp": timestamp}
        self.local.create("/v1/billing/meter_events", data=data | at)

    def advance(self, clock: str, frozen_time: int) -> None:
        """Let a clock go on, and wait until it is there."""
        self.local.create(f"{CLOCKS}/{clock}/advance", data={"frozen_time": frozen_time})
        self.local.until(lambda connection: not test_clocks.advancing(connection))

    def go_on(self, seconds: int) -> None:
        """Let time pass by the machine's clock, and wait until all is done that is due."""
        self.local.later(seconds * 1000)
        self.local.job("invoice").wake()
        now = self.local.clock.now()

        def done(connection: Any) -> bool:
            return not subscriptions.due(connection, None, now, 1) and not invoices.due(
                connection, None, now, 1
            )

        self.local.until(done)

    def invoices(self, customer: str) -> list[Invoice]:
        """Return a customer's invoices, oldest first."""
        with self.local.meterhouse.ledger.read() as connection:
            wanted = invoices.Filter(customer=customer)
            page = invoices.list_invoices(connection, 1, PageParams(limit=100), wanted)
        assert page is not None
        return page[0][::-1]

    def lines(self, invoice: Invoice) -> list[tuple[str, int]]:
        with self.local.meterhouse.ledger.read() as connection:
            lines = invoice_lines.lines_of(connection, (invoice.id,))[invoice.id]
        return [(line.description, line.amount) for line in lines]

    def found(self, one: Subscription) -> Subscription:
        with self.local.meterhouse.ledger.read() as connection:
            found = subscriptions.find_subscription(connection, one.scope, one.id)
        assert found is not None
        return found

    def told(self, customer: str) -> list[dict[str, Any]]:
        """Return what happened to what a customer is billed, oldest first."""
        answer = self.local.request("GET", "/v1/events", params={"limit": 100}).json()
        told: list[dict[str, Any]] = answer["data"][::-1]
        return [event for event in told if event["data"]["object"].get("customer") == customer]

    def events(self, customer: str) -> list[str]:
        """Return the types of that, without what was told to come."""
        types = [event["type"] for event in self.told(customer)]
        return [one for one in types if one != "invoice.upcoming"]

    def upcoming(self, customer: str) -> list[dict[str, Any]]:
        """Return the invoices that were told to come, oldest first."""
        told = self.told(customer)
        return [one["data"]["object"] for one in told if one["type"] == "invoice.upcoming"]
