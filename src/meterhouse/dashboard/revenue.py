"""Revenue: what finalized invoices came to, by month and by meter, a chart for each currency."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from starlette.responses import Response

from meterhouse import limits
from meterhouse.billing.period import beginning
from meterhouse.billing.price import Recurrence
from meterhouse.dashboard.visit import Visit

_PATH = "/meterhouse/v1/revenue"
_MONTH = Recurrence("month")
_RANGES = (6, 12, 24)
_MONTHS = 12
HEIGHT = 1_000  # of the picture


class Column(NamedTuple):
    """A meter, or what is of none: its name, its amount in each month, and their sum."""

    name: str
    amounts: list[int]
    total: int


class Books(NamedTuple):
    """What came in in one currency, the largest meter first; `bars` is the picture of it.

    A bar is the stack of one month: the number of the column, the top and the height of each piece.
    """

    currency: str
    columns: list[Column]
    totals: list[int]
    total: int
    bars: list[list[tuple[int, int, int]]]


async def show(visit: Visit) -> Response:
    """Show the revenue of the last months; the present one is not over."""
    count = next((one for one in _RANGES if str(one) == visit.asked("months")), _MONTHS)
    months = last_months(visit.now, count)
    rows = await visit.items(_PATH, [("starts_at", months[0]), ("ends_at", months[-1])])
    names = {one["id"]: one["display_name"] for one in await visit.meters()}
    return visit.page(
        "revenue.html",
        here="billing",
        months=[datetime.fromtimestamp(at, UTC).strftime("%b %Y") for at in months[:-1]],
        books=books(rows, months[:-1], names),
        ranges=_RANGES,
        count=count,
        height=HEIGHT,
        colors=limits.CHART_GROUPS_MAX,
    )


def last_months(now: int, count: int) -> list[int]:
    """Return when the last months began, in unix seconds, the oldest first, and the next begins."""
    today = datetime.fromtimestamp(now, UTC)
    month = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    anchor = int(month.timestamp()) * 1000
    return [beginning(anchor, _MONTH, back) // 1000 for back in range(1 - count, 2)]


def books(
    rows: Iterable[Mapping[str, Any]], months: Sequence[int], names: Mapping[str, str]
) -> list[Books]:
    """Sort the rows of the API into columns of `months`, currency by currency."""
    sorted_: dict[str, dict[str | None, list[int]]] = {}
    for row in rows:
        meters = sorted_.setdefault(row["currency"], {})
        amounts = meters.setdefault(row["meter"], [0] * len(months))
        amounts[months.index(row["starts_at"])] += row["amount"]
    return [
        _books(
            currency,
            [
                Column(_name(meter, names), amounts, sum(amounts))
                for meter, amounts in meters.items()
                if any(amounts)
            ],
        )
        for currency, meters in sorted(sorted_.items())
        if any(map(any, meters.values()))
    ]


def _books(currency: str, columns: list[Column]) -> Books:
    columns = sorted(columns, key=lambda one: (-one.total, one.name))
    by_month = list(zip(*(one.amounts for one in columns), strict=True))
    totals = [sum(month) for month in by_month]
    highest = max((sum(one for one in month if one > 0) for month in by_month), default=0) or 1
    bars = [_stack(month, highest) for month in by_month]
    return Books(currency, columns, totals, sum(totals), bars)


def _stack(amounts: Sequence[int], highest: int) -> list[tuple[int, int, int]]:
    """Stack what came in; what was given back is in the table only."""
    pieces, below = [], 0
    for number, amount in enumerate(amounts):
        if amount > 0:
            bottom, top = below * HEIGHT // highest, (below + amount) * HEIGHT // highest
            pieces.append((number, HEIGHT - top, top - bottom))
            below += amount
    return pieces


def _name(meter: str | None, names: Mapping[str, str]) -> str:
    return "No meter" if meter is None else names.get(meter, meter)
