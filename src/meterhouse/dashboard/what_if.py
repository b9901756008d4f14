"""What if: what the usage of a past month would have cost under another price."""

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from meterhouse.dashboard import prices
from meterhouse.dashboard.client import ApiError
from meterhouse.dashboard.revenue import last_months
from meterhouse.dashboard.visit import Visit
from meterhouse.limits import PAGE_LIMIT_MAX

_PATH = "/meterhouse/v1/what_if"
_PRICES = "/v1/prices"
_MONTHS = 12
_SHOWN = 50  # customers with rows of their own
_CURRENCY = "usd"
_FIRST_MONTH = 1  # of the last ones: the present one is not over
FIELDS = (
    "month",
    "price",
    "meter",
    "currency",
    "model",
    "unit_amount",
    "package",
    "tiers",
    "multiplier",
)


async def show(visit: Visit) -> Response:
    """Show the form and, where something was asked, what it comes to."""
    months = last_months(visit.now, _MONTHS + _FIRST_MONTH)[:-_FIRST_MONTH]
    found = await _prices(visit)
    meters = await visit.meters()
    asked = {name: visit.asked(name).strip() for name in FIELDS}
    start = _month(months, asked["month"])
    wrong, answer = "", None
    if asked["price"] or asked["meter"]:
        try:
            answer = await visit.post(_PATH, _question(asked, found, months, start))
        except ApiError as error:
            wrong = str(error)
    rows = answer["customers"] if answer else []
    return visit.page(
        "what_if.html",
        here="billing",
        months=[(at, _called(at)) for at in reversed(months[:-1])],
        month=start,
        called=_called(start),
        prices=[(one["id"], one["product"]["name"], prices.title(one)) for one in found],
        meters=meters,
        asked=asked,
        answer=answer,
        names=await visit.names(row["customer"] for row in rows),
        wrong=wrong,
    )


def _question(
    asked: dict[str, str], found: list[dict[str, Any]], months: list[int], start: int
) -> list[tuple[str, Any]]:
    """Return the parameters of a question to the API, which says what is wrong with them."""
    item = {"items[0][meter]": asked["meter"]}
    currency = asked["currency"]
    if asked["price"]:
        item = {"items[0][price]": asked["price"]}
        currency = next((one["currency"] for one in found if one["id"] == asked["price"]), currency)
    else:
        for name, value in prices.amounts(asked).items():
            head, bracket, rest = name.partition("[")
            item[f"items[0][price_data][{head}]{bracket}{rest}"] = value
    given = {
        "currency": currency or _CURRENCY,
        "starts_at": start,
        "ends_at": months[months.index(start) + 1],
        "multiplier": asked["multiplier"] or "1",
        "limit": _SHOWN,
        **item,
    }
    return [(name, value) for name, value in given.items() if value != ""]


def _month(months: list[int], text: str) -> int:
    """Return when the month began that is asked for, or else the last one that is over."""
    return next((at for at in months[:-1] if str(at) == text), months[-2])


def _called(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%B %Y")


async def _prices(visit: Visit) -> list[dict[str, Any]]:
    """Return prices of usage, newest first."""
    asked = [
        ("limit", PAGE_LIMIT_MAX),
        ("recurring[usage_type]", "metered"),
        ("expand[0]", "data.product"),
        ("expand[1]", "data.tiers"),
    ]
    return await visit.items(_PRICES, asked)
