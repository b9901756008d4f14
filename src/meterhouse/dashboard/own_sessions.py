"""A user's own sessions: where one is signed in, and the end of that."""

from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from meterhouse.dashboard.client import ApiError
from meterhouse.dashboard.visit import Visit


async def list_(visit: Visit) -> Response:
    """List where one is signed in, this browser marked."""
    found = await visit.sessions.own(visit.session)
    return visit.page("sessions.html", here="sessions", sessions=found)


async def end(visit: Visit) -> Response:
    """End one session."""
    if not await visit.sessions.end_one(visit.session, visit.part("id"), visit.client):
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such session, or it has ended before.")
    return visit.go("sessions")


async def end_all(visit: Visit) -> Response:
    """Sign out everywhere, here too."""
    await visit.sessions.end_all(visit.session, visit.client)
    return RedirectResponse(f"{visit.address.home}/sign-in", HTTPStatus.SEE_OTHER)
