"""Many customers who are subscribed from the same instant on, and what they are billed."""

from meterhouse.billing import change
from meterhouse.billing.invoice import Invoice
from meterhouse.billing.period import Period
from meterhouse.billing.price import Recurrence
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.invoicing.turn import Terms, Turn, take
from meterhouse.jobs.invoice import Invoicer
from meterhouse.ledger import customers, invoices, prices, products
from meterhouse.ledger.announce import Cause
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.stores import Stores
from meterhouse.wire.page import PageParams
from tests.invoicing.samples import a_price, a_product
from tests.metering.samples import HOUR, NOW
from tests.pipeline import Pipeline, customer

TERMS = Terms(notice=0, delay=HOUR)
RECURRENCES = {"price_1": Recurrence("month")}
CUSTOMERS = [f"cus_{number}" for number in range(2, 32)]


def subscribe(pipeline: Pipeline) -> None:
    """Let many customers be subscribed from the same instant on."""
    scope = pipeline.scope
    with pipeline.stores._ledger.write() as connection:
        products.create_product(connection, a_product(scope.id))
        prices.create_price(connection, a_price(scope.id))
        for name in CUSTOMERS:
            customers.create_customer(connection, customer(scope, id=name))
            item = Item(
                id=f"si_{name}",
                price="price_1",
                quantity=None,
                period=Period(NOW, NOW),
                since=NOW,
                metadata={},
                created=NOW,
            )
            one = Subscription(
                id=f"sub_{name}",
                scope=scope.id,
                customer=name,
                test_clock=None,
                status="active",
                currency="usd",
                mode="flexible",
                anchor=NOW,
                start=NOW,
                items=(item,),
                created=NOW,
            )
            made = change.started(one, RECURRENCES, NOW)
            turn = Turn(before=None, change=made, at=NOW, events=())
            take(connection, Cause(scope, NOW), turn, [], TERMS)


def invoicer(pipeline: Pipeline, stores: Stores | None = None) -> Invoicer:
    """Return the job that bills them, by the clock of the pipeline."""
    timekeeper = Timekeeper(pipeline.stores, pipeline.clock)  # not opened: it goes by the clock
    settle = pipeline.processor.settle
    return Invoicer(stores or pipeline.stores, settle, pipeline.clock, timekeeper, TERMS)


def invoices_of(pipeline: Pipeline, name: str) -> list[Invoice]:
    """Return the invoices of one of them, newest first."""
    with pipeline.stores._ledger.read() as connection:
        wanted = invoices.Filter(customer=name)
        page = invoices.list_invoices(connection, pipeline.scope.id, PageParams(), wanted)
    assert page is not None
    return page[0]
