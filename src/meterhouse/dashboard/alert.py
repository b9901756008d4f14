"""Alerts: the list, one of them with who has reached it and who will, and changes."""

import asyncio
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.position import Position, position
from meterhouse.dashboard.show import day, number
from meterhouse.dashboard.visit import Visit, question

_ALERTS = "/meterhouse/v1/alerts"
_CHANGED = "/v1/billing/alerts"
_PAGE = "billing/alerts"
_SHOWN = 50
_OF_CUSTOMER = 10
_FILTERS = ("customer", "meter")
# What can be done to an alert, by its status: the change, what the button says, the question.
ACTIONS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "active": (
        ("deactivate", "Deactivate", ""),
        ("archive", "Archive", "Archive this alert? It is never triggered again, for good."),
    ),
    "inactive": (
        ("activate", "Activate", ""),
        ("archive", "Archive", "Archive this alert? It is never triggered again, for good."),
    ),
    "archived": (),
}
OFTEN = {
    "one_time": "once",
    "day": "every day",
    "week": "every week",
    "month": "every month",
}


class Standing(NamedTuple):
    """How far a customer is from an alert, and what comes of it at the pace so far."""

    alert: dict[str, Any]
    position: Position
    outlook: str


async def of_customer(visit: Visit, customer: str) -> list[Standing]:
    """Return where a customer stands with alerts that are about it; some of the newest."""
    asked = [("customer", customer), ("limit", limits.PAGE_LIMIT_MAX)]
    found = await visit.items(_ALERTS, asked)
    active = [one for one in found if one["status"] == "active"][:_OF_CUSTOMER]
    return list(await asyncio.gather(*(_standing(visit, one, customer) for one in active)))


async def list_(visit: Visit) -> Response:
    """List alerts, newest first."""
    return await _list(visit)


async def create(visit: Visit) -> Response:
    """Make an alert, which is active."""
    try:
        made = await visit.post(_ALERTS, _form(visit))
    except ApiError as error:
        return await _list(visit, str(error))
    return visit.go(f"{_PAGE}/{made['id']}")


async def show(visit: Visit) -> Response:
    """Show an alert: who has reached it, by which event, and when a customer will."""
    return await _show(visit)


async def change(visit: Visit) -> Response:
    """Activate, deactivate or archive an alert."""
    what = visit.part("change")
    if what not in {one for actions in ACTIONS.values() for one, _, _ in actions}:
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such page.")
    id_ = path_part(visit.part("id"))
    try:
        await visit.post(f"{_CHANGED}/{id_}/{what}")
    except ApiError as error:
        return await _show(visit, str(error))
    return visit.go(f"{_PAGE}/{id_}")


def steps_of(alert: dict[str, Any]) -> str:
    """Say in short what an alert is about: `50, 80, 100 % of 2,000`, or `10 and 20`."""
    steps = alert["steps"]
    if alert["budget"] is None:
        return " and ".join(number(one["gte"]) for one in steps)
    percents = ", ".join(number(one["percent"]) for one in steps)
    return f"{percents} % of {number(alert['budget'])}"


def outlook(forecast: dict[str, Any]) -> str:
    """Say which step is reached next, and when, if it goes on like that."""
    coming = [one for one in forecast["steps"] if not _is_reached(one, forecast)]
    if not coming:
        return "Reached"
    if forecast["pace"] is None:
        return ""
    if coming[0]["reached_at"] is None:
        return f"At this pace it does not reach {_step(coming[0])}"
    return f"At this pace it reaches {_step(coming[0])} on {day(coming[0]['reached_at'])}"


def _is_reached(step: dict[str, Any], forecast: dict[str, Any]) -> bool:
    return Decimal(forecast["total"]) >= Decimal(step["gte"])


def _step(step: dict[str, Any]) -> str:
    percent = step["percent"]
    return number(step["gte"]) if percent is None else f"{number(percent)} %"


async def _standing(visit: Visit, alert: dict[str, Any], customer: str) -> Standing:
    path = f"{_ALERTS}/{path_part(alert['id'])}/forecast"
    forecast = await visit.get(path, [("customer", customer)])
    lines = [Decimal(one["gte"]) for one in forecast["steps"]]
    return Standing(alert, position(Decimal(forecast["total"]), lines), outlook(forecast))


async def _list(visit: Visit, wrong: str = "") -> Response:
    asked = question(visit.request.query_params, _FILTERS)
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    page: dict[str, Any] = {"data": [], "has_more": False}
    try:
        page = await visit.get(_ALERTS, [("limit", _SHOWN), *asked, *after])
    except ApiError as error:
        wrong = wrong or str(error)
    meters, names = await asyncio.gather(
        visit.meters(), visit.names(one["customer"] for one in page["data"] if one["customer"])
    )
    return visit.page(
        "alerts.html",
        here="billing",
        status=HTTPStatus.BAD_REQUEST if visit.form and wrong else HTTPStatus.OK,
        alerts=[(one, steps_of(one)) for one in page["data"]],
        more=page["has_more"],
        names=names,
        meters=meters,
        meter_names={one["id"]: one["display_name"] for one in meters},
        often=OFTEN,
        asked=dict(asked),
        kept=asked,
        wrong=wrong,
        form=visit.form,
    )


async def _show(visit: Visit, wrong: str = "") -> Response:
    path = f"{_ALERTS}/{path_part(visit.part('id'))}"
    alert = await visit.get(path)
    customer = visit.asked("customer").strip()
    own = [("customer", customer)] if customer else []
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    history: dict[str, Any] = {"data": [], "has_more": False}
    standing = None
    try:
        history = await visit.get(
            f"{path}/history", [("limit", _SHOWN), ("expand[0]", "data.event"), *own, *after]
        )
        if customer or alert["customer"]:
            standing = await _standing(visit, alert, customer or alert["customer"])
    except ApiError as error:
        wrong = wrong or str(error)
    known = {one["customer"] for one in history["data"]}
    meter, names = await asyncio.gather(
        visit.get(f"/v1/billing/meters/{path_part(alert['meter'])}"),
        visit.names(sorted(known | ({alert["customer"]} if alert["customer"] else set()))),
    )
    return visit.page(
        "alert.html",
        here="billing",
        status=HTTPStatus.BAD_REQUEST if visit.form and wrong else HTTPStatus.OK,
        alert=alert,
        steps=steps_of(alert),
        often=OFTEN[alert["recurrence"]],
        meter=meter,
        customer=customer,
        kept=own,
        standing=standing,
        history=[(one, _step(one)) for one in history["data"]],
        more=history["has_more"],
        names=names,
        actions=ACTIONS[alert["status"]],
        wrong=wrong,
    )


def _form(visit: Visit) -> list[tuple[str, str]]:
    """Return the parameters of the alert that the form describes; what is wrong the API says."""
    said = visit.said
    given = {name: said(name) for name in ("title", "meter", "customer", "recurrence", "budget")}
    given["hard_limit"] = "true" if said("hard_limit") else ""
    given |= {f"steps[{n}]": step for n, step in enumerate(said("steps").split())}
    pairs = (line.partition("=") for line in said("dimensions").splitlines() if line.strip())
    given |= {f"dimensions[{key.strip()}]": value.strip() for key, _, value in pairs}
    return [(name, text) for name, text in given.items() if text]
