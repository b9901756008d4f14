"""Invoices, their lines and what they bill, as tests of several rooms put them into a ledger."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar, TypeVarTuple

import msgspec
import sqlalchemy as sa

from meterhouse.billing.invoice import Invoice, InvoiceItem, Line, Segment
from meterhouse.billing.period import Period
from meterhouse.billing.price import Price, Pricing, Product, Recurrence, Recurring
from meterhouse.invoicing.posting import Posting, posted
from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.customers import Customer, create_customer
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.meters import create_meter
from meterhouse.ledger.notifications import after
from meterhouse.ledger.prices import create_price
from meterhouse.ledger.products import create_product
from meterhouse.metering.model import Meter, Scope
from meterhouse.wire.ids import new_id
from meterhouse.wire.notification import Payload, snapshot_event, thin_event

T = TypeVar("T")
Args = TypeVarTuple("Args")

NOVEMBER = Period(1_667_260_800_000, 1_669_852_800_000)
NOW = 1_669_856_400_000


def scope_of_tests(ledger: Ledger) -> Scope:
    """Return the default account's scope in test mode."""
    with ledger.write() as connection:
        return scopes_of(connection, default_account(connection, now=1).id)[0]


def stock(ledger: Ledger, scope: int, customer: str = "cus_1", **changes: Any) -> None:
    """Put a customer into a ledger, and the first time what it is sold."""
    with ledger.write() as connection:
        create_customer(connection, a_customer(scope, customer, **changes))
        if customer == "cus_1":
            create_meter(connection, a_meter(scope))
            create_product(connection, a_product(scope))
            create_price(connection, a_price(scope))


def a_customer(scope: int, customer: str = "cus_1", **changes: Any) -> Customer:
    plain = Customer(
        id=customer,
        scope=scope,
        email="ada@example.com",
        metadata={},
        details={"name": "Ada"},
        created=1_000,
        deleted_at=None,
    )
    return msgspec.structs.replace(plain, **changes)


def a_meter(scope: int) -> Meter:
    return Meter(
        id="mtr_1",
        scope=scope,
        event_name="tokens",
        display_name="Tokens",
        formula="sum",
        event_time_window=None,
        customer_key="stripe_customer_id",
        value_key="value",
        dimension_keys=None,
        dimension_version=0,
        active=True,
        created=1_000,
        updated=1_000,
        deactivated_at=None,
    )


def a_product(scope: int) -> Product:
    return Product(
        id="prod_1",
        scope=scope,
        active=True,
        name="Tokens",
        unit_label="token",
        default_price=None,
        metadata={},
        details={},
        created=1_000,
        updated=1_000,
    )


def a_price(scope: int) -> Price:
    return Price(
        id="price_1",
        scope=scope,
        product="prod_1",
        active=True,
        pricing=Pricing(currency="usd", unit_amount=Decimal("3.6")),
        recurring=Recurring(recurrence=Recurrence("month"), usage_type="metered", meter="mtr_1"),
        options={},
        lookup_key=None,
        nickname=None,
        tax_behavior="unspecified",
        metadata={},
        created=1_000,
    )


def an_invoice(scope: int, customer: str = "cus_1", **changes: Any) -> Invoice:
    """Return a draft of a month that has ended."""
    plain = Invoice(
        id=new_id("in"),
        scope=scope,
        customer=customer,
        subscription=None,
        test_clock=None,
        status="draft",
        reason="manual",
        currency="usd",
        period=NOVEMBER,
        created=NOVEMBER.end,
    )
    return msgspec.structs.replace(plain, **changes)


def a_line(amount: int = 112, **changes: Any) -> Line:
    plain = Line(
        id=new_id("il"),
        amount=amount,
        description="31 token × Tokens (at $0.036 / month)",
        period=NOVEMBER,
        quantity=Decimal(31),
        unit_amount=Decimal("3.6"),
        price="price_1",
        product="prod_1",
    )
    return msgspec.structs.replace(plain, **changes)


def a_segment(place: int = 0, **changes: Any) -> Segment:
    plain = Segment(
        place=place,
        customer="cus_1",
        meter="mtr_1",
        price="price_1",
        subscription_item=None,
        invoice_item=None,
        usage_in=NOVEMBER,
        period=NOVEMBER,
        usage=Decimal("31.000000000001"),
        events=3,
        amount=112,
        counted_at=NOW,
    )
    return msgspec.structs.replace(plain, **changes)


def an_item(scope: int, customer: str = "cus_1", amount: int = 500, **changes: Any) -> InvoiceItem:
    plain = InvoiceItem(
        id=new_id("ii"),
        scope=scope,
        customer=customer,
        subscription=None,
        subscription_item=None,
        invoice=None,
        test_clock=None,
        currency="usd",
        description="Set up",
        amount=amount,
        quantity=Decimal(1),
        unit_amount=Decimal(amount),
        price=None,
        period=Period(NOW, NOW),
        created=NOW,
    )
    return msgspec.structs.replace(plain, **changes)


def post(connection: sa.Connection, work: Callable[[Posting, *Args], T], *args: *Args) -> T:
    """Do something that notes what is to be written, and write it."""
    with posted(connection) as posting:
        return work(posting, *args)


def events_of(ledger: Ledger, scope: Scope, payload: Payload = "snapshot") -> list[dict[str, Any]]:
    """Return the events of a scope as they are shown, oldest first."""
    with ledger.read() as connection:
        found = [event for _, event in after(connection, 0, 1_000) if event.scope == scope.id]
    own = [event for event in found if event.payload == payload]
    if payload == "thin":
        return [thin_event(event, livemode=scope.livemode, fetched=True) for event in own]
    return [snapshot_event(event, livemode=scope.livemode) for event in own]
