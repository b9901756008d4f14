"""Credit grants: the list, what a customer has left and until when, one grant, and changes."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard import prices
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.form import read_instant
from meterhouse.dashboard.position import Part, parts
from meterhouse.dashboard.visit import Visit

_GRANTS = "/v1/billing/credit_grants"
_TRANSACTIONS = "/v1/billing/credit_balance_transactions"
_BURN_DOWN = "/meterhouse/v1/credit_burn_down"
_PAGE = "billing/credits"
_SHOWN = 50
_CHANGES = frozenset({"expire", "void"})
# What transactions are called, by their type.
KINDS: Mapping[str, str] = {
    "credits_applied": "Paid for an invoice",
    "credits_application_invoice_voided": "Came back from a void invoice",
    "credits_expired": "Expired",
    "credits_granted": "Granted",
    "credits_voided": "Taken back",
}


class Burning(NamedTuple):
    """A grant of which something is left, and the parts of what was granted."""

    use: dict[str, Any]
    parts: list[Part]

    @property
    def is_foreseen(self) -> bool:
        """Tell whether it is used up in a time that calendars reach to."""
        at = self.use["used_up_at"]
        return at is not None and at <= limits.REQUEST_TIMESTAMP_SECONDS_MAX


class Credit(NamedTuple):
    """What a customer has left: each grant in the order in which they pay, and all in a currency.

    `days` is by currency what open periods use of metered prices in a day, at their pace so far.
    """

    as_of: int
    grants: list[Burning]
    left: dict[str, int]
    days: dict[str, int]


async def of_customer(visit: Visit, customer: str) -> Credit:
    """Return what a customer has left, as usage has it now."""
    found = await visit.get(_BURN_DOWN, [("customer", customer)])
    left: dict[str, int] = {}
    for one in found["grants"]:
        left[one["currency"]] = left.get(one["currency"], 0) + one["remaining"]
    days = dict.fromkeys(left, 0)
    for pace in found["pace"]:
        if pace["currency"] in days:
            days[pace["currency"]] += pace["amount_per_day"]
    return Credit(found["as_of"], [_burning(one) for one in found["grants"]], left, days)


async def list_(visit: Visit) -> Response:
    """List grants, newest first; of a customer with what is left of them and what used them."""
    return await _list(visit)


async def create(visit: Visit) -> Response:
    """Grant credit."""
    try:
        made = await visit.post(_GRANTS, _form(visit))
    except ApiError as error:
        return await _list(visit, str(error))
    return visit.go(f"{_PAGE}/{made['id']}")


async def show(visit: Visit) -> Response:
    """Show a grant: what is left of it, until when, and what used it."""
    return await _show(visit)


async def change(visit: Visit) -> Response:
    """Let a grant expire, or take it back."""
    what = visit.part("change")
    if what not in _CHANGES:
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such page.")
    id_ = path_part(visit.part("id"))
    try:
        await visit.post(f"{_GRANTS}/{id_}/{what}")
    except ApiError as error:
        return await _show(visit, str(error))
    return visit.go(f"{_PAGE}/{id_}")


async def _list(visit: Visit, wrong: str = "") -> Response:
    customer = visit.asked("customer").strip()
    own = [("customer", customer)] if customer else []
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    asked = [("limit", _SHOWN), ("expand[0]", "data.test_clock"), *own, *after]
    page: dict[str, Any] = {"data": [], "has_more": False}
    credit, transactions = None, []
    try:
        page = await visit.get(_GRANTS, asked)
        if customer:
            credit, transactions = await asyncio.gather(
                of_customer(visit, customer),
                visit.items(_TRANSACTIONS, [*own, ("limit", _SHOWN)]),
            )
    except ApiError as error:
        wrong = wrong or str(error)
    return visit.page(
        "credits.html",
        here="billing",
        status=HTTPStatus.BAD_REQUEST if visit.form and wrong else HTTPStatus.OK,
        grants=[(one, state(one, visit.now)) for one in page["data"]],
        more=page["has_more"],
        customer=customer,
        credit=credit,
        transactions=transactions,
        kinds=KINDS,
        names=await visit.names([one["customer"] for one in page["data"]]),
        prices=await _metered(visit) if visit.session.may_change else [],
        wrong=wrong,
        form=visit.form,
    )


async def _show(visit: Visit, wrong: str = "") -> Response:
    path = f"{_GRANTS}/{path_part(visit.part('id'))}"
    grant = await visit.get(path, [("expand[0]", "test_clock")])
    own = [("customer", grant["customer"])]
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    asked = [*own, ("credit_grant", grant["id"]), ("limit", _SHOWN), *after]
    credit, page, names, named = await asyncio.gather(
        of_customer(visit, grant["customer"]),
        visit.get(_TRANSACTIONS, asked),
        visit.names([grant["customer"]]),
        _named(visit, grant),
    )
    burning = next((one for one in credit.grants if one.use["credit_grant"] == grant["id"]), None)
    return visit.page(
        "credit.html",
        here="billing",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        grant=grant,
        state=state(grant, visit.now),
        burning=burning,
        name=names[grant["customer"]],
        prices=named,
        transactions=page["data"],
        more=page["has_more"],
        kinds=KINDS,
        wrong=wrong,
    )


def state(grant: Mapping[str, Any], now: int) -> tuple[str, str]:
    """Return what a grant is at the time of its customer, and the kind of that."""
    if grant["test_clock"] is not None:
        now = grant["test_clock"]["frozen_time"]
    if grant["voided_at"] is not None:
        return "taken back", ""
    if grant["expires_at"] is not None and grant["expires_at"] <= now:
        return "expired", ""
    if grant["effective_at"] > now:
        return "not yet", "warn"
    return "in effect", "good"


def _burning(use: dict[str, Any]) -> Burning:
    spent = use["amount"] - use["ledger_balance"]
    told = {"left": use["remaining"], "open": use["open_periods"], "drafts": use["drafts"]}
    return Burning(use, parts([*told.items(), ("spent", spent)]))


async def _named(visit: Visit, grant: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the ids of the prices that a grant pays for, and what they are called."""
    ids = [one["id"] for one in grant["applicability_config"]["scope"].get("prices", ())]
    asked = [("expand[0]", "product"), ("expand[1]", "tiers")]
    found = await asyncio.gather(*(visit.get(f"/v1/prices/{path_part(one)}", asked) for one in ids))
    return [(one["id"], _called(one)) for one in found]


async def _metered(visit: Visit) -> Sequence[tuple[str, str]]:
    """Return the prices that credit can pay for, newest first, and what they are called."""
    wanted = [("limit", limits.PAGE_LIMIT_MAX), ("active", "true"), ("type", "recurring")]
    expand = [("expand[0]", "data.product"), ("expand[1]", "data.tiers")]
    found = await visit.items("/v1/prices", [*wanted, *expand])
    return [(one["id"], _called(one)) for one in found if one["recurring"]["meter"]]


def _called(price: dict[str, Any]) -> str:
    return f"{price['product']['name']}: {prices.title(price)}"


def _form(visit: Visit) -> list[tuple[str, Any]]:
    """Return the parameters of the grant that the form describes; what is wrong the API says."""
    said = visit.said
    scope = "applicability_config[scope]"
    given = {
        "customer": said("customer"),
        "amount[type]": "monetary",
        "amount[monetary][currency]": said("currency"),
        "amount[monetary][value]": said("amount"),
        "category": said("category"),
        "name": said("name"),
        "priority": said("priority"),
        "effective_at": read_instant(said("effective_at")),
        "expires_at": read_instant(said("expires_at")),
    }
    if said("price"):
        given[f"{scope}[prices][0][id]"] = said("price")
    else:
        given[f"{scope}[price_type]"] = "metered"
    return [(name, text) for name, text in given.items() if text]
