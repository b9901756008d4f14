import asyncio
import gzip
import zlib
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from starlette.requests import Request
from starlette.types import Message

from meterhouse import limits
from meterhouse.dashboard.client import ApiError
from meterhouse.dashboard.form import read_form

BODY = limits.REQUEST_BODY_BYTES_MAX
PAIRS = limits.REQUEST_FORM_PAIRS_MAX


def read(*pieces: bytes, encodings: tuple[bytes, ...] = ()) -> dict[str, str]:
    """Read a form whose body comes in pieces; every one of them is asked for."""
    following: Iterator[bytes] = iter(pieces)
    left = len(pieces)

    async def receive() -> Message:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": next(following), "more_body": left > 0}

    headers = [(b"content-encoding", encoding) for encoding in encodings]
    form = asyncio.run(read_form(Request({"type": "http", "headers": headers}, receive)))
    return {name: str(value) for name, value in form.items()}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", {}),
        (b"name=Ada+L%C3%B6we&role=", {"name": "Ada L\xf6we", "role": ""}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a%5Bb%5D=1%26", {"a[b]": "1&"}),
    ],
)
def test_reading(body: bytes, said: dict[str, str]) -> None:
    assert read(body) == said


def test_a_body_may_come_in_pieces() -> None:
    assert read(b"a=1", b"", b"2&b", b"=3") == {"a": "12", "b": "3"}


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"a=", b"x" * (BODY - 1), b"never asked for"), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ((b"&".join([b"a=1"] * (PAIRS + 1)),), HTTPStatus.BAD_REQUEST),
        ((b"a=\xff",), HTTPStatus.BAD_REQUEST),
    ],
)
def test_what_is_no_form_or_too_large_is_refused(pieces: tuple[bytes, ...], status: int) -> None:
    with pytest.raises(ApiError) as told:
        read(*pieces)
    assert told.value.status == status


def test_the_largest_form() -> None:
    assert len(read(b"a=" + b"x" * (BODY - 2))["a"]) == BODY - 2
    assert len(read(b"&".join(b"%d=1" % number for number in range(PAIRS)))) == PAIRS


FORM = b"name=Ada"


@pytest.mark.parametrize(
    ("body", "encodings"),
    [
        (gzip.compress(FORM), (b"gzip",)),
        (zlib.compress(FORM), (b"deflate",)),
        (zlib.compress(gzip.compress(FORM)), (b"gzip", b"deflate")),
        (FORM, (b"identity",)),
    ],
)
def test_a_form_may_be_packed(body: bytes, encodings: tuple[bytes, ...]) -> None:
    assert read(body[:3], body[3:], encodings=encodings) == {"name": "Ada"}


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(FORM)[:-1], b"gzip", HTTPStatus.BAD_REQUEST),
        (FORM, b"gzip", HTTPStatus.BAD_REQUEST),
        (FORM, b"br", HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        (gzip.compress(b"a=" + bytes(BODY)), b"gzip", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ],
)
def test_a_form_that_cannot_be_unpacked(body: bytes, encoding: bytes, status: int) -> None:
    with pytest.raises(ApiError) as told:
        read(body, encodings=(encoding,))
    assert told.value.status == status
