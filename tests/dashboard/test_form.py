import asyncio
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


def read(*pieces: bytes) -> dict[str, str]:
    """Read a form whose body comes in pieces; every one of them is asked for."""
    following: Iterator[bytes] = iter(pieces)
    left = len(pieces)

    async def receive() -> Message:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": next(following), "more_body": left > 0}

    form = asyncio.run(read_form(Request({"type": "http", "headers": []}, receive)))
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
