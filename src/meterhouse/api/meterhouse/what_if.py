"""`POST /meterhouse/v1/what_if`: what past usage would have cost under other prices.

Nothing is stored, so no idempotency key is needed: the same question is answered anew.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import reduce
from typing import Annotated, Any, NamedTuple

import sqlalchemy as sa
from msgspec import field

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.meter_question import check_range
from meterhouse.api.price import (
    Amount,
    PriceParams,
    RecurringParams,
    TierParams,
    TransformParams,
    price_of,
    read_currency,
)
from meterhouse.billing.bill import pricing_in
from meterhouse.billing.money import print_decimal
from meterhouse.billing.period import Period, beginning
from meterhouse.billing.price import BillingScheme, Interval, Pricing, Recurrence, TiersMode
from meterhouse.billing.what_if import Cost, Used, reckon
from meterhouse.errors import Refusal
from meterhouse.ledger import late_usage, meters, prices
from meterhouse.metering.meter_usage import MeterQuestion, MeterUsageQuery
from meterhouse.metering.model import Meter
from meterhouse.metering.overview import Overview
from meterhouse.metering.usage import PeriodQuery
from meterhouse.metering.window import SLOT
from meterhouse.usage.overview import usage_of_each
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope, param_errors, refusals
from meterhouse.wire.body import to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.params import Between, Items, Params, RequestParams, Timestamp

_DIGITS = limits.WHAT_IF_MULTIPLIER_DIGITS_MAX
_MULTIPLIER = re.compile(rf"[0-9]{{1,{_DIGITS}}}(?:\.[0-9]{{1,{_DIGITS}}})?")


class CandidateData(Params):
    """What a price that does not exist would cost."""

    billing_scheme: BillingScheme = "per_unit"
    tiers: Annotated[list[TierParams], Items(limits.PRICE_TIERS_ITEMS_MAX)] | None = None
    tiers_mode: TiersMode | None = None
    transform_quantity: TransformParams | None = None
    unit_amount: Amount | None = None
    unit_amount_decimal: str | None = None


class CandidateParams(Params):
    """A candidate: a price, or what one would cost, and the meter whose usage it prices."""

    meter: str | None = None
    price: str | None = None
    price_data: CandidateData | None = None


class WhatIfParams(RequestParams, kw_only=True):
    """The parameters; `starts_at` is inclusive, `ends_at` exclusive, both full quarters of an hour.

    With an `interval` the range is cut into periods, counted from its beginning.
    """

    currency: str
    customers: Annotated[list[str], Items(limits.WHAT_IF_CUSTOMERS_ITEMS_MAX)] = field(
        default_factory=list
    )
    ends_at: Timestamp
    interval: Interval | None = None
    items: Annotated[list[CandidateParams], Items(limits.WHAT_IF_ITEMS_MAX)]
    limit: Annotated[int, Between(1, limits.WHAT_IF_SHOWN_ROWS_MAX)] = limits.PAGE_LIMIT_DEFAULT
    multiplier: str = "1"
    starts_at: Timestamp


class _Candidate(NamedTuple):
    meter: Meter
    price: str | None
    pricing: Pricing


async def create(call: Call) -> Answer:
    """Reprice the usage of a range, per customer and in total."""
    params = call.params(WhatIfParams)
    check_expand(params.expand)
    currency = read_currency(params.currency)
    multiplier = _multiplier(params.multiplier)
    periods = _periods(params)
    settled = await call.services.progress.reach(strong=call.strong)
    candidates = await call.read(_candidates, call, params, currency)
    used = await _used(call, params, candidates, periods)
    range_ = Period(periods[0].start, periods[-1].end)
    billed = await call.read(
        late_usage.billed_in,
        call.scope.id,
        {one.meter.id for one in candidates},
        range_,
        currency,
    )
    if params.customers:
        billed = {name: billed[name] for name in params.customers if name in billed}
    pricings = [one.pricing for one in candidates]
    costs = await asyncio.to_thread(reckon, pricings, used, multiplier)
    document = {
        "object": "meterhouse.what_if",
        "currency": currency,
        "ends_at": params.ends_at,
        "livemode": call.scope.livemode,
        "multiplier": print_decimal(multiplier),
        "periods": len(periods),
        "starts_at": params.starts_at,
        **_shown(candidates, costs, billed, params.limit),
    }
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, to_json(document), headers)


# ---- The question ----


def _multiplier(text: str) -> Decimal:
    if not _MULTIPLIER.fullmatch(text):
        raise refusals.invalid_multiplier(text, _DIGITS)
    return Decimal(text)


def _periods(params: WhatIfParams) -> list[Period]:
    """Cut the range into periods; the last one may be shorter."""
    start, end = params.starts_at * 1_000, params.ends_at * 1_000
    check_range(start, end, ("starts_at", "ends_at"))
    for name, instant in (("starts_at", start), ("ends_at", end)):
        if instant % SLOT:
            raise refusals.unaligned_time(name, "quarter of an hour")
    if start == end:
        raise refusals.invalid_time_range()
    if params.interval is None:
        return [Period(start, end)]
    found: list[Period] = []
    recurrence = Recurrence(params.interval)
    while not found or found[-1].end < end:
        if len(found) == limits.WHAT_IF_WINDOWS_MAX:
            raise refusals.too_many_periods(limits.WHAT_IF_WINDOWS_MAX)
        begins, ends = (beginning(start, recurrence, len(found) + more) for more in (0, 1))
        found.append(Period(begins, min(ends, end)))
    return found


def _candidates(
    connection: sa.Connection, call: Call, params: WhatIfParams, currency: str
) -> list[_Candidate]:
    """Find the meters and the prices that a request names; refuse what is not there."""
    found: list[_Candidate] = []
    for number, one in enumerate(params.items):
        param = f"items[{number}]"
        if one.price is not None and one.price_data is not None:
            raise param_errors.exclusive_params(f"{param}[price]", f"{param}[price_data]")
        if one.price is not None:
            meter, pricing = _priced(connection, call, one.price, currency, param)
        elif one.price_data is not None:
            meter, pricing = None, _imagined(call, one.price_data, currency, param)
        else:
            raise param_errors.missing_param(f"{param}[price]")
        meter = one.meter or meter
        if meter is None:
            raise param_errors.missing_param(f"{param}[meter]")
        known = meters.find_meter(connection, call.scope.id, meter)
        if known is None:
            raise envelope.no_such("billing meter", meter, f"{param}[meter]")
        found.append(_Candidate(known, one.price, pricing))
    if not found:
        raise param_errors.missing_param("items")
    return found


def _priced(
    connection: sa.Connection, call: Call, id_: str, currency: str, param: str
) -> tuple[str | None, Pricing]:
    price = prices.find_price(connection, call.scope.id, id_)
    if price is None:
        raise envelope.no_such("price", id_, f"{param}[price]")
    if currency != price.pricing.currency and currency not in price.options:
        raise refusals.not_in_currency(id_, currency, f"{param}[price]")
    return price.recurring.meter if price.recurring else None, pricing_in(price, currency)


def _imagined(call: Call, data: CandidateData, currency: str, param: str) -> Pricing:
    """Return what a price would cost; what is refused is named as the sender names it."""
    given = {name: getattr(data, name) for name in CandidateData.__struct_fields__}
    recurring = RecurringParams(interval="month")  # without one there could be no tiers
    try:
        asked = PriceParams(currency=currency, recurring=recurring, **given)
        return price_of(call, asked, "").pricing
    except Refusal as error:
        if error.param is not None:
            head, bracket, rest = error.param.partition("[")
            error.param = f"{param}[price_data][{head}]{bracket}{rest}"
        raise


# ---- The answer ----


async def _used(
    call: Call, params: WhatIfParams, candidates: Sequence[_Candidate], periods: Sequence[Period]
) -> list[Used]:
    """Return each customer's usage in each period, of those who used anything."""
    if params.customers:
        return await _used_by(call, params.customers, candidates, periods)
    found: list[Used] = []
    for number, one in enumerate(candidates):
        for period in periods:
            query = MeterUsageQuery(
                scope=call.scope,
                customer=None,
                start=period.start,
                end=period.end,
                questions=(MeterQuestion(one.meter),),
            )
            rows = await call.usage(usage_of_each, Overview(query=query, by_customer=True))
            if len(found) + len(rows) > limits.WHAT_IF_ROWS_MAX:
                raise refusals.too_many_priced(limits.WHAT_IF_ROWS_MAX)
            found += [Used(number, customer, usage) for customer, usage in rows]
    return found


async def _used_by(
    call: Call,
    customers: Sequence[str],
    candidates: Sequence[_Candidate],
    periods: Sequence[Period],
) -> list[Used]:
    asked = [
        (number, PeriodQuery(one.meter, customer, *period))
        for number, one in enumerate(candidates)
        for customer in dict.fromkeys(customers)
        for period in periods
    ]
    found = await call.usage(UsageStore.periods, call.scope, [one for _, one in asked])
    return [
        Used(number, one.customer, usage.usage)
        for (number, one), usage in zip(asked, found, strict=True)
        if usage.events
    ]


def _shown(
    candidates: Sequence[_Candidate],
    costs: Mapping[str, list[Cost]],
    billed: Mapping[str, int],
    rows_max: int,
) -> dict[str, Any]:
    """Render what it comes to: those who would pay most, all others together, and all."""
    nothing = [Cost()] * len(candidates)
    everybody = {name: costs.get(name, nothing) for name in {*costs, *billed}}
    order = sorted(everybody, key=lambda name: (-_amount(everybody[name]), name))
    shown, others = order[:rows_max], order[rows_max:]

    def row(names: Sequence[str]) -> dict[str, Any]:
        sums = [
            reduce(Cost.plus, (everybody[name][number] for name in names), Cost())
            for number in range(len(candidates))
        ]
        before = sum(billed.get(name, 0) for name in names)
        return {
            "amount": _amount(sums),
            "amount_billed": before,
            "amount_difference": _amount(sums) - before,
            "items": [
                {
                    "amount": one.amount,
                    "meter": candidate.meter.id,
                    "price": candidate.price,
                    "usage": print_decimal(one.usage),
                }
                for candidate, one in zip(candidates, sums, strict=True)
            ],
        }

    return {
        "customers": [{"customer": name, **row([name])} for name in shown],
        "others": {"customers": len(others), **row(others)},
        "total": {"customers": len(order), **row(order)},
    }


def _amount(costs: Sequence[Cost]) -> int:
    return sum(one.amount for one in costs)
