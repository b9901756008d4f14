"""Invoices of usage, as tests of the extensions put them straight into the ledger."""

from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse.billing.bill import Bill, Usage, bill_of
from meterhouse.billing.invoice import Invoice, Segment
from meterhouse.billing.period import Period
from meterhouse.invoicing.bill import catalog_of
from meterhouse.invoicing.create import create_invoice
from meterhouse.invoicing.finalize import finalize
from meterhouse.invoicing.recount import made_now
from meterhouse.ledger import accounts
from meterhouse.ledger.announce import Cause
from meterhouse.metering.model import Scope
from tests.api.local import LocalServer
from tests.invoicing.samples import an_invoice, post

GRADUATED = {
    "billing_scheme": "tiered",
    "tiers_mode": "graduated",
    "tiers[0][up_to]": "10",
    "tiers[0][unit_amount]": "0",
    "tiers[0][flat_amount]": "900",
    "tiers[1][up_to]": "inf",
    "tiers[1][unit_amount_decimal]": "3.6",
}


class Billed(NamedTuple):
    """An invoice and the ids of its lines, in their order."""

    invoice: Invoice
    lines: list[str]


def price(local: LocalServer, meter: str, **data: str) -> str:
    """Make a monthly price of a meter, and its product; `data` are further parameters."""
    given = {
        "currency": "usd",
        "product_data[name]": "Tokens",
        "recurring[interval]": "month",
        "recurring[usage_type]": "metered",
        "recurring[meter]": meter,
    }
    made: str = local.create("/v1/prices", data=given | data)["id"]
    return made


def bill(
    local: LocalServer,
    used: tuple[str, str, str],
    range_: Period,
    *,
    finalized: bool = True,
    **segment: Any,
) -> Billed:
    """Bill the usage of a customer, on a meter, under a price, in a range, as it is now."""
    return local.run(_bill(local, used, range_, finalized=finalized, **segment))


async def _bill(
    local: LocalServer,
    used: tuple[str, str, str],
    range_: Period,
    *,
    finalized: bool,
    subscription: str | None = None,
    **more: Any,
) -> Billed:
    customer, meter, price_ = used
    stores, now = local.meterhouse.services.stores, local.clock.now()
    scope = await stores.read(_scope)
    values: dict[str, Any] = {
        "place": 0,
        "customer": customer,
        "meter": meter,
        "price": price_,
        "subscription_item": None,
        "invoice_item": None,
        "usage_in": range_,
        "period": range_,
    } | more
    segment = Segment(**values)

    def gather(connection: sa.Connection) -> Bill:
        part = Usage(segment=segment, subscription=subscription)
        return bill_of("usd", catalog_of(connection, scope.id, [price_]), [part])

    invoice = an_invoice(scope.id, customer, created=now, period=range_, subscription=subscription)
    made = await made_now(stores, scope, await stores.read(gather), invoice.id, now)
    cause = Cause(scope, now)
    invoice = await stores.write(post, create_invoice, cause, invoice, made.lines, made.segments)
    if finalized:
        invoice = await stores.write(post, finalize, cause, invoice, made.lines, made.segments, now)
    return Billed(invoice, [line.id for line in made.lines])


def _scope(connection: sa.Connection) -> Scope:
    account = accounts.default_account(connection, now=1)
    return accounts.scopes_of(connection, account.id)[0]
