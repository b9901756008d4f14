"""The form of a change: what a page of ours sends, and no more than that."""

from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.datastructures import FormData
from starlette.requests import Request

from meterhouse import limits
from meterhouse.dashboard.client import ApiError


async def read_form(request: Request) -> FormData:
    """Read a body of `name=text` pairs; raises `ApiError` when it is none, or too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > limits.REQUEST_BODY_BYTES_MAX:
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form is too large.")
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=limits.REQUEST_FORM_PAIRS_MAX
        )
    except ValueError:
        raise ApiError(HTTPStatus.BAD_REQUEST, "The form cannot be read.") from None
    return FormData(dict(pairs))
