from collections.abc import Callable

import pytest

from meterhouse.wire.token import seal, unseal

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
