"""Prices: the list, one of them with what any usage would come to, and changes of them."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from meterhouse import limits
from meterhouse.billing.description import every, packages
from meterhouse.dashboard import simulator
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.show import money
from meterhouse.dashboard.visit import Visit

_PATH = "/v1/prices"
_PAGE = "billing/prices"
_SHOWN = 50
_EXPANDED = ("product", "tiers", "currency_options")
_ACTIVE = {"archive": "false", "activate": "true"}


async def list_(visit: Visit) -> Response:
    """List prices, newest first."""
    return await _list(visit)


async def create(visit: Visit) -> Response:
    """Make a price, and its product where that is a new one."""
    try:
        made = await visit.post(_PATH, _form(visit))
    except ApiError as error:
        return await _list(visit, str(error))
    return visit.go(f"{_PAGE}/{made['id']}")


async def show(visit: Visit) -> Response:
    """Show a price: its tiers, and what a usage would come to."""
    expand = [(f"expand[{number}]", name) for number, name in enumerate(_EXPANDED)]
    price = await visit.get(f"{_PATH}/{path_part(visit.part('id'))}", expand)
    asked = visit.asked("currency")
    currency = asked if asked in price["currency_options"] else price["currency"]
    pricing = simulator.pricing_of(price, currency)
    usage = simulator.read_usage(visit.asked("usage"))
    wrong = "" if usage is not None or not visit.asked("usage") else _NO_USAGE
    usage = simulator.first_usage(pricing) if usage is None else usage
    drawn = simulator.curve(pricing, usage)
    product = price["product"]
    lines = simulator.lines(
        pricing, simulator.recurrence_of(price), product["name"], product["unit_label"], usage
    )
    return visit.page(
        "price.html",
        here="billing",
        price=price,
        called=title(price),
        meter=await _meter(visit, price),
        currency=currency,
        pricing=pricing,
        usage=usage,
        lines=lines,
        total=sum(one.amount for one in lines),
        curve=drawn,
        size=(simulator.WIDTH, simulator.HEIGHT),
        examples=simulator.examples(pricing, drawn.end),
        warnings=simulator.warnings(pricing),
        wrong=wrong,
    )


async def change(visit: Visit) -> Response:
    """Archive a price, or take it up again: it is for new subscriptions only while it is active."""
    active = _ACTIVE.get(visit.part("change"))
    if active is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such page.")
    id_ = path_part(visit.part("id"))
    await visit.post(f"{_PATH}/{id_}", [("active", active)])
    return visit.go(f"{_PAGE}/{id_}")


def title(price: dict[str, Any]) -> str:
    """Say in short what a price is: `$0.04 / month`, `3 graduated tiers / month`."""
    pricing, recurrence = simulator.pricing_of(price), simulator.recurrence_of(price)
    often = f" {every(recurrence)}" if recurrence else " once"
    if pricing.tiers_mode:
        count = f"{len(pricing.tiers)} " if pricing.tiers else ""  # the object may not show them
        tiers = "tier" if len(pricing.tiers) == 1 else "tiers"
        return f"{count}{pricing.tiers_mode} {tiers}{often}"
    return f"{money(pricing.unit_amount, pricing.currency)}{packages(pricing)}{often}"


_NO_USAGE = (
    f"A usage is a number of at most {limits.SIMULATED_DIGITS_MAX} digits and "
    f"{limits.PRICE_DECIMALS_MAX} decimals."
)


async def _list(visit: Visit, wrong: str = "") -> Response:
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    expand = [("expand[0]", "data.product"), ("expand[1]", "data.tiers")]
    page, meters, products = await asyncio.gather(
        visit.get(_PATH, [("limit", _SHOWN), *after, *expand]),
        visit.meters(),
        visit.items("/v1/products", [("limit", limits.PAGE_LIMIT_MAX), ("active", "true")]),
    )
    return visit.page(
        "prices.html",
        here="billing",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        prices=[(one, title(one)) for one in page["data"]],
        more=page["has_more"],
        names={one["id"]: one["display_name"] for one in meters},
        meters=[one for one in meters if one["status"] == "active"],
        products=products,
        wrong=wrong,
        form=visit.form,
    )


async def _meter(visit: Visit, price: dict[str, Any]) -> dict[str, Any] | None:
    """Return the meter whose usage a price is for, if it is."""
    id_ = price["recurring"] and price["recurring"]["meter"]
    found: dict[str, Any] | None = id_ and await visit.get(f"/v1/billing/meters/{path_part(id_)}")
    return found


def _form(visit: Visit) -> list[tuple[str, str]]:
    """Return the parameters of the price that the form describes; what is wrong the API says."""
    said = visit.said
    given = {
        "currency": said("currency"),
        "nickname": said("nickname"),
        "lookup_key": said("lookup_key"),
        **_product(visit),
    }
    if said("interval") != "once":
        given["recurring[interval]"] = said("interval") or "month"
    if said("meter"):
        given |= {"recurring[usage_type]": "metered", "recurring[meter]": said("meter")}
    fields = {name: said(name) for name in AMOUNT_FIELDS}
    return [(name, text) for name, text in (given | amounts(fields)).items() if text]


AMOUNT_FIELDS = ("model", "unit_amount", "package", "tiers")


def amounts(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that tell what a price comes to, from the `AMOUNT_FIELDS` of a form."""
    model = fields["model"]
    if model in {"graduated", "volume"}:
        return {"billing_scheme": "tiered", "tiers_mode": model, **_tiers(fields["tiers"])}
    given = {"unit_amount_decimal": fields["unit_amount"]}
    if model == "package":
        given["transform_quantity[divide_by]"] = fields["package"]
        given["transform_quantity[round]"] = "up"
    return given


def _product(visit: Visit) -> dict[str, str]:
    if visit.said("product"):
        return {"product": visit.said("product")}
    return {
        "product_data[name]": visit.said("product_name"),
        "product_data[unit_label]": visit.said("unit_label"),
    }


def _tiers(text: str) -> dict[str, str]:
    """Read tiers, a line each: up to which unit, what a unit costs, what the tier costs."""
    found: dict[str, str] = {}
    rows = [line.replace(",", " ").split() for line in text.splitlines()]
    for number, row in enumerate(row for row in rows if row):
        up_to, unit, flat = (["" if one == "-" else one for one in row] + ["", ""])[:3]
        found |= {
            f"tiers[{number}][up_to]": up_to,
            f"tiers[{number}][unit_amount_decimal]": unit,
            f"tiers[{number}][flat_amount_decimal]": flat,
        }
    return found
