"""The form of a change: what a page of ours sends, and no more than that."""

from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.datastructures import FormData
from starlette.requests import Request

from meterhouse import limits
from meterhouse.dashboard.client import ApiError
from meterhouse.errors import Refusal
from meterhouse.wire.encoding import Unpacker


async def read_form(request: Request, bytes_max: int = limits.REQUEST_BODY_BYTES_MAX) -> FormData:
    """Read a body of `name=text` pairs; raises `ApiError` when it is none, or too large."""
    try:
        body = await _read_body(request, bytes_max)
    except Refusal as refusal:
        raise ApiError(refusal.status, refusal.message) from None
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=limits.REQUEST_FORM_PAIRS_MAX
        )
    except ValueError:
        raise ApiError(HTTPStatus.BAD_REQUEST, "The form cannot be read.") from None
    return FormData(dict(pairs))


def read_instant(text: str) -> int | str:
    """Return the instant of a field, in UTC; what cannot be read is for the API to refuse."""
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        return text


async def _read_body(request: Request, bytes_max: int) -> bytes:
    """Return the body, unpacked; raises a `Refusal` as well."""
    header = ", ".join(request.headers.getlist("content-encoding"))
    unpacker = Unpacker(header, bytes_max)
    body = b""
    async for chunk in request.stream():
        for piece in unpacker.unpack(chunk):
            body += piece
            if len(body) > bytes_max:
                raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form is too large.")
    unpacker.end()
    return body
