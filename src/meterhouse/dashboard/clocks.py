"""Test clocks: the list, one of them with whom it has, and moving it forward."""

import asyncio
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from meterhouse.billing.period import beginning
from meterhouse.billing.price import Interval, Recurrence
from meterhouse.dashboard import billing
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.form import read_instant
from meterhouse.dashboard.visit import Visit

_PATH = "/v1/test_helpers/test_clocks"
_PAGE = "billing/clocks"
_SHOWN = 50
_CUSTOMERS = 10
_HOUR = 3_600
_STEPS: dict[str, Interval] = {"day": "day", "week": "week", "month": "month"}


async def list_(visit: Visit) -> Response:
    """List clocks, newest first; there are none in live mode."""
    return await _list(visit)


async def create(visit: Visit) -> Response:
    """Make a clock, which stands still."""
    form = [("frozen_time", read_instant(visit.said("frozen_time")) or visit.now)]
    if visit.said("name"):
        form.append(("name", visit.said("name")))
    try:
        made = await visit.post(_PATH, form)
    except ApiError as error:
        return await _list(visit, str(error))
    return visit.go(f"{_PAGE}/{made['id']}")


async def show(visit: Visit) -> Response:
    """Show a clock, and its customers with what they are billed."""
    return await _show(visit)


async def advance(visit: Visit) -> Response:
    """Move a clock forward: by a step, or to an instant."""
    path = f"{_PATH}/{path_part(visit.part('id'))}"
    clock = await visit.get(path)
    try:
        await visit.post(f"{path}/advance", [("frozen_time", _target(visit, clock))])
    except ApiError as error:
        return await _show(visit, str(error))
    return visit.go(f"{_PAGE}/{clock['id']}")


async def delete(visit: Visit) -> Response:
    """Delete a clock, with its customers."""
    await visit.delete(f"{_PATH}/{path_part(visit.part('id'))}")
    return visit.go(_PAGE)


async def _list(visit: Visit, wrong: str = "") -> Response:
    clocks: list[dict[str, Any]] = []
    more = False
    if not visit.space.livemode:
        after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
        page = await visit.get(_PATH, [("limit", _SHOWN), *after])
        clocks, more = page["data"], page["has_more"]
    return visit.page(
        "clocks.html",
        here="billing",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        clocks=clocks,
        more=more,
        wrong=wrong,
        form=visit.form,
    )


async def _show(visit: Visit, wrong: str = "") -> Response:
    clock = await visit.get(f"{_PATH}/{path_part(visit.part('id'))}")
    asked = [("test_clock", clock["id"]), ("limit", _CUSTOMERS)]
    page = await visit.get("/v1/customers", asked)
    bills = await asyncio.gather(*(billing.of_customer(visit, one["id"]) for one in page["data"]))
    context = {
        "clock": clock,
        "customers": list(zip(page["data"], bills, strict=True)),
        "more": page["has_more"],
    }
    if visit.request.headers.get("x-fragment"):
        return visit.page("_clock.html", here="billing", **context)
    return visit.page(
        "clock.html",
        here="billing",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        wrong=wrong,
        **context,
    )


def _target(visit: Visit, clock: dict[str, Any]) -> int | str:
    now: int = clock["frozen_time"]
    step = visit.said("step")
    if step == "hour":
        return now + _HOUR
    if step in _STEPS:
        return beginning(now * 1000, Recurrence(_STEPS[step]), 1) // 1000
    return read_instant(visit.said("frozen_time")) or now
