from collections.abc import Callable

import pytest
from msgspec.msgpack import Decoder, encode

from meterhouse.wire.token import read, seal, unseal

SECRET = b"s" * 32


@pytest.mark.parametrize("body", [b"", b"a", b"\x00\xff", bytes(range(256))])
def test_a_token_says_what_was_sealed(body: bytes) -> None:
    token = seal("x_", body, SECRET)
    assert token.startswith("x_")
    assert unseal("x_", token, SECRET) == body
    assert unseal("x_", token, b"t" * 32) is None
    assert unseal("x_", token[:-1], SECRET) is None


@pytest.mark.parametrize(
    "spell",
    [
        lambda token: token.removeprefix("x_"),
        lambda token: "x_" + token,
        lambda token: token + "====",
        lambda token: token + "é" * 2,
        lambda token: token[:9] + "!!!!" + token[9:],
        lambda token: token[:9] + "\ud800" + token[9:],
        lambda token: token[:-1] + chr(ord(token[-1]) + 1),  # whose last bits mean nothing
        lambda token: token + "\n",
    ],
)
def test_a_token_is_spelled_in_one_way(spell: Callable[[str], str]) -> None:
    token = seal("x_", b"ab", SECRET)
    assert unseal("x_", token, SECRET) == b"ab"
    assert unseal("x_", spell(token), SECRET) is None


@pytest.mark.parametrize(
    "body", [b"", b"\xff", encode("mes_1"), encode(["mes_1", "1"]), encode({"id": "mes_1"})]
)
def test_what_is_genuine_and_says_something_else_says_nothing(body: bytes) -> None:
    decoder = Decoder(tuple[str, int])
    assert read(decoder, "x_", seal("x_", encode(["mes_1", 1]), SECRET), SECRET) == ("mes_1", 1)
    assert read(decoder, "x_", seal("x_", body, SECRET), SECRET) is None


def test_a_token_of_one_kind_is_none_of_another_even_under_the_same_secret() -> None:
    token = seal("x_", b"body", SECRET)
    assert unseal("y_", token.replace("x_", "y_"), SECRET) is None
