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
