"""Errors: what was wrong with events, and the way to correct and resend them."""

from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from meterhouse import limits
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.visit import Visit, question

_RESEND = "/meterhouse/v1/invalid_meter_events/resend"
_FILTERS = ("code", "meter", "event_name")


async def list_(visit: Visit) -> Response:
    """List kinds of rejected events, the one that came last first."""
    page = await visit.get("/meterhouse/v1/rejections", [("limit", limits.PAGE_LIMIT_MAX)])
    names = {one["id"]: one["display_name"] for one in await visit.meters()}
    return visit.page(
        "errors.html", here="errors", kinds=page["data"], more=page["has_more"], names=names
    )


async def prepare(visit: Visit) -> Response:
    """Ask how to correct events of a kind, or one of them."""
    said = visit.request.query_params
    kept = question(said, (*_FILTERS, "identifier"))
    return await _form(visit, dict(kept), {})


async def resend(visit: Visit) -> Response:
    """Preview what would count, or send the events again."""
    about = dict(question(visit.request.query_params, (*_FILTERS, "identifier")))
    corrections = {
        name: visit.said(name) for name in ("new_event_name", "new_timestamp", "key", "value")
    }
    try:
        document = _document(about, corrections, dry_run=bool(visit.said("preview")))
        answer = await visit.post_json(_RESEND, document)
    except ApiError as error:
        return await _form(visit, about, corrections, wrong=str(error))
    if visit.said("preview"):
        return await _form(visit, about, corrections, preview=answer)
    return visit.go(f"errors/resends/{answer['id']}")


async def result(visit: Visit) -> Response:
    """Tell how far a resend is; the page looks again until it is complete."""
    told = await visit.get(f"/meterhouse/v1/resends/{path_part(visit.part('id'))}")
    template = "_resend.html" if visit.request.headers.get("x-fragment") else "resend_result.html"
    return visit.page(template, here="errors", resend=told)


def _document(about: dict[str, str], said: dict[str, str], *, dry_run: bool) -> dict[str, Any]:
    """Return the body of a resend: which events, and what is different in each."""
    document: dict[str, Any] = {"dry_run": dry_run}
    if "identifier" in about:
        document["identifiers"] = [about["identifier"]]
    else:
        document["filter"] = {name: about[name] for name in _FILTERS if name in about}
    replace: dict[str, Any] = {}
    if said["new_event_name"]:
        replace["event_name"] = said["new_event_name"]
    if said["new_timestamp"]:
        replace["timestamp"] = _seconds(said["new_timestamp"])
    if said["key"]:
        replace["payload"] = {said["key"]: said["value"]}
    return document | ({"replace": replace} if replace else {})


def _seconds(text: str) -> int:
    digits_max = len(str(limits.REQUEST_TIMESTAMP_SECONDS_MAX))
    if not (text.isascii() and text.isdecimal() and len(text) <= digits_max):
        raise ApiError(HTTPStatus.BAD_REQUEST, "The timestamp must be in unix seconds.")
    return int(text)


async def _form(
    visit: Visit,
    about: dict[str, str],
    said: dict[str, str],
    *,
    wrong: str = "",
    preview: dict[str, Any] | None = None,
) -> Response:
    meters = await visit.meters()
    samples = await _samples(visit, about)
    return visit.page(
        "resend.html",
        here="errors",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        about=about,
        said=said,
        preview=preview,
        wrong=wrong,
        samples=samples,
        meters=meters,
        names={one["id"]: one["display_name"] for one in meters},
    )


async def _samples(visit: Visit, about: dict[str, str]) -> list[dict[str, Any]]:
    asked = [("outcome", "rejected"), ("limit", "3"), *about.items()]
    return await visit.items("/meterhouse/v1/meter_events", asked)
