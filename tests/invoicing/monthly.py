"""A monthly subscription to a metered price of tiers and to seats, and usage of its month."""

from decimal import Decimal
from itertools import count

import msgspec

from meterhouse.billing.invoice import InvoiceItem
from meterhouse.billing.period import Period
from meterhouse.ledger import invoice_items, prices, products, subscriptions
from tests.billing.samples import item, price, product, subscription, tiered, unit
from tests.metering.samples import DAY, NOW, event
from tests.pipeline import CUSTOMER, Pipeline, stream

MONTH = Period(NOW - 32 * DAY, NOW - DAY)
TIERS = tiered("graduated", [(10, "100", None), (None, "50", None)])
PRICES = (
    price("tokens", TIERS, meter="mtr_1"),
    price("calls", unit("4"), meter="mtr_1"),
    price("seats", unit("1000"), metered=False),
)
MONTHLY = subscription(
    item("tokens", MONTH),
    item("seats", MONTH, quantity=2),
    customer=CUSTOMER,
    metadata={"team": "blue"},
)
_numbers = count()


def sell(pipeline: Pipeline) -> None:
    """Put into the ledger what is sold, and who has subscribed to it."""
    scope = pipeline.scope.id
    with pipeline.stores._ledger.write() as connection:
        for one in PRICES:
            products.create_product(
                connection, msgspec.structs.replace(product(one.id, one.id), scope=scope)
            )
            prices.create_price(connection, msgspec.structs.replace(one, scope=scope))
        subscriptions.create_subscription(
            connection, msgspec.structs.replace(MONTHLY, scope=scope), None
        )


def waiting(id_: str, scope: int, **members: object) -> InvoiceItem:
    """A pending item of the subscription: a fee, or with `usage_in` what was used before."""
    plain = InvoiceItem(
        id=id_,
        scope=scope,
        customer=CUSTOMER,
        subscription="sub",
        subscription_item=None,
        invoice=None,
        test_clock=None,
        currency="usd",
        description="Fee",
        amount=500,
        quantity=Decimal(1),
        unit_amount=Decimal(500),
        price=None,
        period=MONTH,
        created=NOW,
    )
    return msgspec.structs.replace(plain, **members)


def put_items(pipeline: Pipeline, *items: InvoiceItem) -> None:
    """Let items wait for the next invoice."""
    with pipeline.stores._ledger.write() as connection:
        for one in items:
            invoice_items.create_item(connection, one)


async def use(pipeline: Pipeline, *used: tuple[int, str]) -> None:
    """Send events, instants and values, and wait until they can be counted."""
    scope = pipeline.scope.id
    events = [
        event(
            scope=scope,
            identifier=f"use {next(_numbers)}",
            timestamp=at,
            payload={"stripe_customer_id": CUSTOMER, "value": value},
        )
        for at, value in used
    ]
    await stream(pipeline, *events)
    await pipeline.processor.settle(5)
