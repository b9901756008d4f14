"""`/v1/billing/credit_grants` (https://docs.stripe.com/api/billing/credit-grant).

What was granted is used up by invoices (`invoicing.credit`), and expires by the job that bills.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api import credit as common
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.invoice import customer_of, expand_members, lock_time
from meterhouse.api.once import once
from meterhouse.api.price import read_currency
from meterhouse.billing.credit import Category, Grant
from meterhouse.invoicing import credit
from meterhouse.invoicing.posting import Posting, posted
from meterhouse.ledger import credit_grants
from meterhouse.ledger.customers import Customer
from meterhouse.render.credit import render_grant
from meterhouse.wire import credit_errors, envelope
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.ids import new_id
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.param_errors import missing_param
from meterhouse.wire.params import (
    Between,
    Length,
    Metadata,
    Params,
    RequestParams,
    Timestamp,
    Unsupported,
)

_CATEGORY_OPTIONAL_SINCE = date(2025, 10, 29)
_EXPANDABLE = frozenset({"customer", "test_clock"})
_EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in _EXPANDABLE)

# What a grant becomes, at the instant of its time.
Becomes = Callable[[Posting, Grant, int], Grant]


class MonetaryParams(Params):
    """So much money."""

    currency: str
    value: Annotated[int, Between(1, limits.PRICE_AMOUNT_LIMIT)]


class AmountParams(Params):
    """What is granted."""

    type: Literal["monetary"]
    custom_pricing_unit: Unsupported | None = None
    monetary: MonetaryParams | None = None


class ApplicabilityParams(Params):
    """What it can be used for."""

    scope: common.ScopeParams


class GrantCreate(RequestParams):
    """The parameters of a new grant."""

    amount: AmountParams
    applicability_config: ApplicabilityParams
    category: Category | None = None
    customer: str | None = None
    customer_account: Unsupported | None = None
    effective_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    metadata: Metadata | UnsetType | None = UNSET
    name: Annotated[str, Length(limits.CREDIT_GRANT_NAME_CHARS_MAX)] | None = None
    priority: Annotated[int, Between(0, limits.CREDIT_PRIORITY_LIMIT)] | None = None


class GrantUpdate(RequestParams):
    """What can be changed of a grant."""

    expires_at: Timestamp | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class GrantList(PageParams):
    """The parameters of the list."""

    customer: str | None = None
    customer_account: Unsupported | None = None


async def create(call: Call) -> Answer:
    """Grant credit to a customer."""
    params = call.params(GrantCreate)
    check_expand(params.expand, _EXPANDABLE)
    if params.customer is None:
        raise missing_param("customer")
    if params.category is None and call.version.date < _CATEGORY_OPTIONAL_SINCE:
        raise missing_param("category")
    money = params.amount.monetary
    if money is None:
        raise missing_param("amount[monetary]")
    currency = read_currency(money.currency, "amount[monetary][currency]")
    asked = MonetaryParams(currency=currency, value=money.value)

    def work(connection: sa.Connection) -> Answer:
        customer, now = customer_of(connection, call, params.customer or "")
        _check_room(connection, customer)
        scope = params.applicability_config.scope
        prices = common.prices_of(connection, call, scope, "applicability_config[scope]")
        made = _new(call, params, asked, customer, prices, now)
        with posted(connection) as posting:
            credit.grant(posting, call.cause, made, now)
        call.note(connection, "credit_grant.created", made.id)
        return _shown(connection, call, made, params)

    return await once(call, work)


async def retrieve(call: Call) -> Answer:
    """Show a grant."""
    params = call.params(RequestParams)
    check_expand(params.expand, _EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        return _shown(connection, call, _find(connection, call), params)

    return await call.read(work)


async def update(call: Call) -> Answer:
    """Change when a grant expires, and its metadata."""
    params = call.params(GrantUpdate)

    def become(posting: Posting, before: Grant, now: int) -> Grant:
        metadata = merge_metadata(before.metadata, params.metadata)
        after = msgspec.structs.replace(before, metadata=metadata)
        if not isinstance(params.expires_at, UnsetType):
            if before.is_over(now):
                raise credit_errors.is_over(before.id)
            expires_at = _end(params.expires_at, before.effective_at, now)
            after = msgspec.structs.replace(after, expires_at=expires_at)
        if after == before:
            return before
        return _changed(posting, call, before, after, now)

    return await _change(call, params, "updated", become)


async def expire(call: Call) -> Answer:
    """Let what is left of a grant expire now."""

    def become(posting: Posting, before: Grant, now: int) -> Grant:
        if before.is_over(now):
            raise credit_errors.is_over(before.id)
        if before.effective_at > now:
            raise credit_errors.not_yet_effective(before.id)
        over = msgspec.structs.replace(before, expires_at=now)
        over = _changed(posting, call, before, over, now)
        credit.expire(posting, call.cause, over, now)
        return over

    return await _change(call, call.params(RequestParams), "expired", become)


async def void(call: Call) -> Answer:
    """Take back a grant of which nothing is used."""

    def become(posting: Posting, before: Grant, now: int) -> Grant:
        if before.is_over(now):
            raise credit_errors.is_over(before.id)
        if before.balance != before.amount:
            raise credit_errors.is_applied(before.id)
        over = msgspec.structs.replace(before, voided_at=now)
        over = _changed(posting, call, before, over, now)
        credit.void(posting, call.cause, over, now)
        return over

    return await _change(call, call.params(RequestParams), "voided", become)


async def list_(call: Call) -> Answer:
    """List grants, newest first."""
    params = call.params(GrantList)
    check_expand(params.expand, _EXPANDABLE_IN_LIST)

    def work(connection: sa.Connection) -> Answer:
        if params.customer is not None:
            common.customer_asked(connection, call, params.customer)
        page = credit_grants.list_grants(connection, call.scope.id, params, params.customer)
        if page is None:
            cursor, param = params.cursor, params.cursor_param
            raise envelope.no_such("billing credit grant", cursor, param)
        rows, has_more = page
        wish = expanded(params.expand, listed=True)
        return ok(list_object(call.path, _documents(connection, call, rows, wish), has_more))

    return await call.read(work)


async def _change(
    call: Call,
    params: RequestParams,
    what: Literal["expired", "updated", "voided"],
    become: Becomes,
) -> Answer:
    """Answer with what the grant of the path becomes, locked with its clock and its customer."""
    check_expand(params.expand, _EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        _, now = lock_time(connection, call, _find(connection, call).customer)
        with posted(connection) as posting:
            before = posting.hold_grants({call.ids[0]})[call.ids[0]]
            after = become(posting, before, now)
        if after != before:
            call.note(connection, f"credit_grant.{what}", after.id)
        return _shown(connection, call, after, params)

    return await once(call, work)


def _find(connection: sa.Connection, call: Call) -> Grant:
    grant = credit_grants.find_grant(connection, call.scope.id, call.ids[0])
    if grant is None:
        raise envelope.no_such("billing credit grant", call.ids[0])
    return grant


def _check_room(connection: sa.Connection, customer: Customer) -> None:
    most = limits.CREDIT_UNUSED_ITEMS_MAX
    if len(credit_grants.unspent(connection, {customer.id})[customer.id]) >= most:
        raise credit_errors.too_many_unused(most)


def _new(
    call: Call,
    params: GrantCreate,
    money: MonetaryParams,
    customer: Customer,
    prices: tuple[str, ...],
    now: int,
) -> Grant:
    begins = now
    if params.effective_at is not None:
        begins = params.effective_at * 1000
        if begins <= now:
            raise credit_errors.not_in_future("effective_at")
    return Grant(
        id=new_id("credgr", call.scope.livemode),
        scope=call.scope.id,
        customer=customer.id,
        test_clock=customer.test_clock,
        currency=money.currency,
        amount=money.value,
        prices=prices,
        category=params.category or "paid",
        priority=limits.CREDIT_PRIORITY_DEFAULT if params.priority is None else params.priority,
        effective_at=begins,
        expires_at=_end(params.expires_at, begins, now),
        name=params.name,
        metadata=merge_metadata({}, params.metadata),
        created=now,
        updated=now,
    )


def _end(expires_at: int | None, begins: int, now: int) -> int | None:
    """Return when a grant is to expire; refuse an end that has come, or lies before it begins."""
    if expires_at is None:
        return None
    end = expires_at * 1000
    if end <= now:
        raise credit_errors.not_in_future("expires_at")
    if end <= begins:
        raise credit_errors.expires_too_early()
    return end


def _changed(posting: Posting, call: Call, before: Grant, after: Grant, now: int) -> Grant:
    stored = msgspec.structs.replace(after, updated=now)
    credit.change(posting, call.cause, before, stored)
    return stored


def _shown(connection: sa.Connection, call: Call, grant: Grant, params: RequestParams) -> Answer:
    return ok(_documents(connection, call, [grant], expanded(params.expand))[0])


def _documents(
    connection: sa.Connection, call: Call, rows: Sequence[Grant], wish: frozenset[str]
) -> list[dict[str, Any]]:
    documents = [
        render_grant(row, livemode=call.scope.livemode, version=call.version) for row in rows
    ]
    expand_members(connection, call, documents, wish)
    return documents
