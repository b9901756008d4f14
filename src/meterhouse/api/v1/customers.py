"""`/v1/customers` (https://docs.stripe.com/api/customers).

Meterhouse needs to know which customers exist; the rest of what a sender tells about one is kept
and given back. What is no member of the object, such as a payment method to attach, is taken and
forgotten: nothing of metering depends on it, and it may be somebody's secret.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.api.subscription import clocks_shown, end_all, shown_of_customer
from meterhouse.invoicing.present import present
from meterhouse.ledger import customers, erasures, idempotency, test_clocks
from meterhouse.ledger.announce import announce
from meterhouse.ledger.customers import Customer
from meterhouse.ledger.erasures import Erasure
from meterhouse.render.customer import INVOICE_SETTINGS, render_customer
from meterhouse.wire import customer_errors, envelope, test_clock_errors
from meterhouse.wire.deleted import deleted
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.ids import new_id
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import (
    Between,
    Items,
    Length,
    Metadata,
    Params,
    RequestParams,
    TimeRange,
)

# Members that can be expanded and of which Meterhouse has nothing to show.
_EXPANDABLE = frozenset(
    {
        "cash_balance",
        "default_source",
        "invoice_settings.default_payment_method",
        "sources",
        "subscriptions",
        "tax",
        "tax_ids",
        "test_clock",
    }
)
EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in _EXPANDABLE)

Name = Annotated[str, Length(256)]
Email = Annotated[str, Length(512)]


class Address(Params):
    """A postal address; a part that is empty is none."""

    city: str | UnsetType | None = None
    country: str | UnsetType | None = None
    line1: str | UnsetType | None = None
    line2: str | UnsetType | None = None
    postal_code: str | UnsetType | None = None
    state: str | UnsetType | None = None


class Shipping(Params):
    """Where to ship, and to whom."""

    address: Address
    name: str
    phone: str | UnsetType | None = None


class CustomField(Params):
    """A line of the invoice's head."""

    name: Annotated[str, Length(40)]
    value: Annotated[str, Length(140)]


class RenderingOptions(Params):
    """How an invoice is printed."""

    amount_tax_display: Literal["exclude_tax", "include_inclusive_tax"] | UnsetType | None = None
    template: str | UnsetType | None = None


class InvoiceSettings(Params):
    """What invoices would say and be paid with; a change names only what changes."""

    custom_fields: Annotated[list[CustomField], Items(4)] | UnsetType | None = UNSET
    default_payment_method: str | UnsetType | None = UNSET
    footer: str | UnsetType | None = UNSET
    rendering_options: RenderingOptions | UnsetType | None = UNSET


class CashBalanceSettings(Params):
    """How a balance would be used."""

    reconciliation_mode: Literal["automatic", "manual", "merchant_default"] | None = None


class CashBalance(Params):
    """The settings of a cash balance."""

    settings: CashBalanceSettings | None = None


class Tax(Params):
    """What a tax would be found by."""

    ip_address: str | UnsetType | None = None
    validate_location: Literal["auto", "deferred", "immediately"] | None = None


class TaxId(Params):
    """A tax id, such as `eu_vat`."""

    type: str
    value: str


class CustomerWrite(RequestParams):
    """The parameters of a new customer, and of a change to one; an empty string unsets."""

    address: Address | UnsetType | None = UNSET
    balance: int | UnsetType = UNSET
    business_name: Annotated[str, Length(150)] | UnsetType | None = UNSET
    cash_balance: CashBalance | None = None
    coupon: str | UnsetType | None = None
    description: str | UnsetType | None = UNSET
    email: Email | UnsetType | None = UNSET
    individual_name: Annotated[str, Length(150)] | UnsetType | None = UNSET
    invoice_prefix: str | UnsetType = UNSET
    invoice_settings: InvoiceSettings | UnsetType = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    name: Name | UnsetType | None = UNSET
    next_invoice_sequence: Annotated[int, Between(1, 10**9)] | UnsetType = UNSET
    phone: Annotated[str, Length(20)] | UnsetType | None = UNSET
    preferred_locales: list[str] | UnsetType = UNSET
    promotion_code: str | UnsetType | None = None
    shipping: Shipping | UnsetType | None = UNSET
    source: str | None = None
    tax: Tax | None = None
    tax_exempt: Literal["exempt", "none", "reverse"] | UnsetType | None = UNSET
    validate: bool | None = None


class CustomerCreate(CustomerWrite):
    """The parameters of a new customer."""

    payment_method: str | None = None
    tax_id_data: list[TaxId] | None = None
    test_clock: str | None = None


class CustomerUpdate(CustomerWrite):
    """The parameters of a change to a customer."""

    default_source: str | UnsetType = UNSET


class CustomerList(PageParams):
    """The parameters of the list."""

    created: TimeRange | None = None
    email: Email | None = None
    test_clock: str | None = None


_PREFIX = re.compile(r"[A-Z0-9]{1,12}")
_COLUMNS = ("balance", "invoice_prefix", "next_invoice_sequence")
_KEPT_ELSEWHERE = frozenset({"email", "expand", "metadata"})
_NOT_KEPT = frozenset(
    {
        "cash_balance",
        "coupon",
        "payment_method",
        "promotion_code",
        "source",
        "tax",
        "tax_id_data",
        "test_clock",
        "validate",
    }
)


async def create(call: Call) -> Answer:
    """Create a customer."""
    params = call.params(CustomerCreate)
    check_expand(params.expand, _EXPANDABLE)
    customer = _changed(
        Customer(
            id=new_id("cus"),
            scope=call.scope.id,
            email=None,
            metadata={},
            details={},
            created=call.now,
            deleted_at=None,
            test_clock=params.test_clock,
        ),
        params,
    )

    def work(connection: sa.Connection) -> Answer:
        made = _joined(connection, call, customer)
        customers.create_customer(connection, made)
        _announce(connection, call, "created", made)
        return _shown(connection, call, made, params)

    return await once(call, work, customer.id)


async def retrieve(call: Call) -> Answer:
    """Show a customer; one that was deleted shows little more than that."""
    params = call.params(RequestParams)
    check_expand(params.expand, _EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        customer = customers.find_customer(connection, call.scope.id, call.ids[0])
        if customer is None:
            raise envelope.no_such("customer", call.ids[0])
        return _shown(connection, call, customer, params)

    return await call.read(work)


async def update(call: Call) -> Answer:
    """Change a customer."""
    params = call.params(CustomerUpdate)
    check_expand(params.expand, _EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        before = _to_change(connection, call, call.ids[0])
        customer = _changed(before, params)
        customers.update_customer(connection, customer)
        _announce(connection, call, "updated", customer, before)
        return _shown(connection, call, customer, params)

    return await once(call, work, call.ids[0])


async def delete(call: Call) -> Answer:
    """Delete a customer and what is known of it; its usage stays readable."""
    check_expand(call.params(RequestParams).expand)
    customer_id = call.ids[0]

    def work(connection: sa.Connection) -> Answer:
        remove(connection, call, customer_id)
        return ok(deleted(customer_id, "customer"))

    answer = await call.services.stores.write(work)
    call.services.signals.send("erase")
    return answer


def remove(connection: sa.Connection, call: Call, customer_id: str) -> None:
    """Delete a customer, and let everything else that shows it be erased; signal `erase` then."""
    forget(connection, call, customer_id)
    erasure = Erasure(id=new_id("ers"), scope=call.scope.id, customer=customer_id, created=call.now)
    erasures.put(connection, erasure)


def forget(connection: sa.Connection, call: Call, customer_id: str) -> None:
    """End what a customer is subscribed to, delete it, and announce it.

    What else shows it is the business of an `Erasure`.
    """
    scope = call.scope.id
    customer = _to_change(connection, call, customer_id)
    end_all(connection, call, customer)
    customers.delete_customer(connection, scope, customer_id, call.now)
    idempotency.erase_customer(connection, scope, customer_id, deleted(customer_id, "customer"))
    _announce(connection, call, "deleted", customer)
    call.note(connection, "customer.deleted", customer_id)


async def list_(call: Call) -> Answer:
    """List customers, newest first."""
    params = call.params(CustomerList)
    check_expand(params.expand, EXPANDABLE_IN_LIST)
    created = params.created.window() if params.created else (None, None)

    def work(connection: sa.Connection) -> Answer:
        scope, clock = call.scope.id, params.test_clock
        if clock is not None and test_clocks.find_test_clock(connection, scope, clock) is None:
            raise test_clock_errors.no_such_test_clock(clock, "test_clock")
        page = customers.list_customers(
            connection, scope, params, email=params.email, created=created, test_clock=clock
        )
        return listed(connection, call, params, page)

    return await call.read(work)


def listed(
    connection: sa.Connection,
    call: Call,
    params: PageParams,
    page: tuple[list[Customer], bool] | None,
) -> Answer:
    """Answer with a page of customers; None stands for one whose cursor names no customer."""
    if page is None:
        raise envelope.no_such("customer", params.cursor, params.cursor_param)
    rows, has_more = page
    return ok(list_object(call.path, shown(connection, call, rows, params.expand), has_more))


def shown(
    connection: sa.Connection, call: Call, rows: Sequence[Customer], expand: Iterable[str]
) -> list[dict[str, Any]]:
    """Return customers as they are shown, with what the paths of `expand` name."""
    paths = [path.removeprefix("data.") for path in expand]
    members = expanded(paths)
    documents = [
        render_customer(
            row,
            livemode=call.scope.livemode,
            expand=members,
            subscriptions=(
                shown_of_customer(connection, call, row.id, paths)
                if "subscriptions" in members
                else None
            ),
        )
        for row in rows
    ]
    if "test_clock" in members:
        named = {row.test_clock for row in rows if row.test_clock is not None}
        clocks = clocks_shown(connection, call, named)
        for document in documents:
            if document.get("test_clock") in clocks:
                document["test_clock"] = clocks[document["test_clock"]]
    return documents


def _to_change(connection: sa.Connection, call: Call, customer_id: str) -> Customer:
    """Return a customer that exists, for nobody else to change until we commit.

    Refuses while its clock is on its way.
    """
    scope = call.scope.id
    known = customers.find_customer(connection, scope, customer_id)
    if known is not None:
        present(connection, scope, known.test_clock, call.now)
    customer = customers.find_customer(connection, scope, customer_id, lock=True)
    if customer is None or customer.deleted_at is not None:
        raise envelope.no_such("customer", customer_id)
    return customer


def _joined(connection: sa.Connection, call: Call, customer: Customer) -> Customer:
    """Return a new customer in the time of its clock, if it has one."""
    scope, clock = call.scope.id, customer.test_clock
    if clock is None:
        return customer
    if test_clocks.find_test_clock(connection, scope, clock) is None:
        raise test_clock_errors.no_such_test_clock(clock, "test_clock")
    created = present(connection, scope, clock, call.now)
    _check_room(connection, call, clock)
    return msgspec.structs.replace(customer, created=created)


def _check_room(connection: sa.Connection, call: Call, clock: str) -> None:
    """Refuse a customer more than Stripe lets a clock have, in the limits profile `stripe`."""
    most = limits.TEST_CLOCK_CUSTOMERS_ITEMS_MAX
    if call.services.config.limits != "stripe":
        return
    if len(customers.of_test_clock(connection, clock)) >= most:
        raise test_clock_errors.too_many_customers(most)


def join(connection: sa.Connection, call: Call, customer_id: str, clock: str) -> None:
    """Let a customer that nothing is billed to live by a new clock, for good."""
    before = customers.find_customer(connection, call.scope.id, customer_id, lock=True)
    if before is None or before.deleted_at is not None:
        raise envelope.no_such("customer", customer_id, "customer")
    if before.test_clock is not None:
        raise test_clock_errors.customer_has_clock(customer_id)
    if customers.is_billed(connection, customer_id):
        raise test_clock_errors.customer_is_billed(customer_id)
    customer = msgspec.structs.replace(before, test_clock=clock)
    customers.update_customer(connection, customer)
    _announce(connection, call, "updated", customer, before)


def _changed(customer: Customer, params: CustomerWrite) -> Customer:
    """Return what `customer` becomes; a detail that is unset shows its default again."""
    details = dict(customer.details)
    given = msgspec.to_builtins(params)
    if "invoice_prefix" in given and _PREFIX.fullmatch(given["invoice_prefix"]) is None:
        raise customer_errors.invalid_invoice_prefix()
    columns = {name: given[name] for name in _COLUMNS if name in given}
    for name, value in given.items():
        if name in _KEPT_ELSEWHERE or name in _NOT_KEPT or name in _COLUMNS:
            continue
        if value is None:
            details.pop(name, None)
        else:
            details[name] = _complete(name, value, details.get(name))
    email = customer.email if params.email is UNSET else params.email
    metadata = merge_metadata(customer.metadata, params.metadata)
    return msgspec.structs.replace(
        customer, email=email, metadata=metadata, details=details, **columns
    )


def _complete(name: str, value: Any, before: Any) -> Any:
    """Spell out what the object always has: a shipping address may come without a phone.

    Of the settings of invoices what is not given stays as it was `before`.
    """
    if name == "shipping":
        return value | {"carrier": None, "tracking_number": None}
    if name == "invoice_settings":
        return (before or INVOICE_SETTINGS) | value
    return value


def _announce(
    connection: sa.Connection,
    call: Call,
    what: Literal["created", "updated", "deleted"],
    customer: Customer,
    before: Customer | None = None,
) -> None:
    livemode = call.scope.livemode
    announce(
        connection,
        call.cause,
        f"customer.{what}",
        f"/v1/customers/{customer.id}",
        render_customer(customer, livemode=livemode),
        render_customer(before, livemode=livemode) if before else None,
    )


def _shown(
    connection: sa.Connection, call: Call, customer: Customer, params: RequestParams
) -> Answer:
    return ok(shown(connection, call, [customer], params.expand)[0])
