"""For developers: requests, destinations with their deliveries, API keys."""

import asyncio
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.visit import Visit, question
from meterhouse.wire.credentials import PERMISSION_RESOURCES

_DESTINATIONS = "/v2/core/event_destinations"
_KEYS = "/meterhouse/v1/api_keys"
_URL = ("include", "webhook_endpoint.url")
_SECRET = "webhook_endpoint.signing_secret"  # noqa: S105 - a name, not a secret
_CHANGES = ("enable", "disable", "ping", "delete", "roll_secret")
_ROWS = 50
_DAY = 86_400


async def logs(visit: Visit) -> Response:
    """List requests, newest first."""
    asked = question(visit.request.query_params, ("method", "path", "status"))
    after = [("starting_after", visit.asked("after"))] if visit.asked("after") else []
    wrong = ""
    try:
        page = await visit.get("/meterhouse/v1/request_logs", [("limit", _ROWS), *asked, *after])
    except ApiError as error:
        page, wrong = {"data": [], "has_more": False}, str(error)
    return visit.page(
        "logs.html",
        here="developers",
        logs=page["data"],
        more=page["has_more"],
        kept=asked,
        asked=dict(asked),
        wrong=wrong,
    )


async def destinations(visit: Visit) -> Response:
    """List destinations."""
    return await _destinations(visit)


async def create_destination(visit: Visit) -> Response:
    """Make a destination; its signing secret is shown on this answer alone."""
    document: dict[str, Any] = {
        "name": visit.said("name"),
        "type": "webhook_endpoint",
        "event_payload": visit.said("event_payload") or "thin",
        "enabled_events": visit.said("enabled_events").replace(",", " ").split() or ["*"],
        "webhook_endpoint": {"url": visit.said("url")},
        "include": [_SECRET, "webhook_endpoint.url"],
    }
    if document["event_payload"] == "snapshot":
        document["snapshot_api_version"] = visit.said("api_version") or None
    try:
        made = await visit.post_json(_DESTINATIONS, document)
    except ApiError as error:
        return await _destinations(visit, str(error))
    return await _destination(visit, made["id"], made["webhook_endpoint"]["signing_secret"])


async def destination(visit: Visit) -> Response:
    """Show a destination with its deliveries."""
    return await _destination(visit, visit.part("id"))


async def change_destination(visit: Visit) -> Response:
    """Enable, disable, ping, delete, or give another signing secret."""
    id_, change = visit.part("id"), visit.part("change")
    if change not in _CHANGES:
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such page.")
    path = f"{_DESTINATIONS}/{path_part(id_)}"
    if change == "delete":
        await visit.delete(path)
        return visit.go("developers/destinations")
    if change == "roll_secret":
        rolled = await visit.post(f"/meterhouse/v1/destinations/{path_part(id_)}/roll_secret")
        return await _destination(visit, id_, rolled["secret"])
    await visit.post_json(f"{path}/{change}", {})
    return visit.go(f"developers/destinations/{id_}")


async def redeliver(visit: Visit) -> Response:
    """Try a delivery once more."""
    path = f"/meterhouse/v1/deliveries/{path_part(visit.part('id'))}/redeliver"
    again = await visit.post(path)
    return visit.go(f"developers/destinations/{again['destination']}")


async def keys(visit: Visit) -> Response:
    """List API keys."""
    return await _keys(visit)


async def create_key(visit: Visit) -> Response:
    """Make a key; its secret is shown on this answer alone."""
    form = [("name", visit.said("name"))] if visit.said("name") else []
    if visit.said("kind") == "restricted":
        form += [
            (f"permissions[{resource}]", visit.said(f"may_{resource}"))
            for resource in sorted(PERMISSION_RESOURCES)
            if visit.said(f"may_{resource}") in {"read", "write"}
        ]
        if len(form) == bool(visit.said("name")):
            return await _keys(visit, wrong="A restricted key needs one permission at least.")
    if visit.said("days").isdecimal():
        form.append(("expires_at", str(visit.now + int(visit.said("days")) * _DAY)))
    try:
        made = await visit.post(_KEYS, form)
    except ApiError as error:
        return await _keys(visit, wrong=str(error))
    return await _keys(visit, made=made)


async def revoke_key(visit: Visit) -> Response:
    """Revoke a key: it stops working."""
    await visit.post(f"{_KEYS}/{path_part(visit.part('id'))}/revoke")
    return visit.go("developers/keys")


async def _keys(visit: Visit, *, made: dict[str, Any] | None = None, wrong: str = "") -> Response:
    found = await visit.items(_KEYS, [("limit", limits.PAGE_LIMIT_MAX)])
    return visit.page(
        "keys.html",
        here="developers",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        keys=found,
        made=made,
        wrong=wrong,
        resources=sorted(PERMISSION_RESOURCES.items()),
    )


async def _destinations(visit: Visit, wrong: str = "") -> Response:
    found = await visit.items(_DESTINATIONS, [_URL, ("limit", limits.PAGE_LIMIT_MAX)])
    return visit.page(
        "destinations.html",
        here="developers",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        destinations=found,
        wrong=wrong,
        form=visit.form,
    )


async def _destination(visit: Visit, id_: str, secret: str | None = None) -> Response:
    shown, sent = await asyncio.gather(
        visit.get(f"{_DESTINATIONS}/{path_part(id_)}", [_URL]),
        visit.items("/meterhouse/v1/deliveries", [("destination", id_), ("limit", 20)]),
    )
    bodies = await asyncio.gather(*(_body(visit, one["event"]) for one in sent))
    return visit.page(
        "destination.html",
        here="developers",
        destination=shown,
        deliveries=list(zip(sent, bodies, strict=True)),
        secret=secret,
    )


async def _body(visit: Visit, event: str) -> dict[str, Any] | None:
    """Return what a delivery told, None when it is no longer kept."""
    for path in (f"/v2/core/events/{path_part(event)}", f"/v1/events/{path_part(event)}"):
        try:
            told: dict[str, Any] = await visit.get(path)
        except ApiError:
            continue
        return told
    return None
