import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.limits import API_KEY_CHARS_MAX
from meterhouse.wire.session import Session, is_token, seal, unseal

SECRET = b"s" * 32
SESSION = Session("mes_1", 2**40, "acct_" + "a" * 16, True, 10**13, "key_" + "a" * 24)
TOKEN = seal(SESSION, SECRET)
LETTERS = string.ascii_letters + string.digits + "-_"


def test_a_token_is_opened_with_the_secret_that_sealed_it() -> None:
    assert is_token(TOKEN)
    assert unseal(TOKEN, SECRET) == SESSION
    assert unseal(TOKEN, b"t" * 32) is None


def test_a_token_goes_into_a_header() -> None:
    assert len(seal(SESSION, SECRET)) <= API_KEY_CHARS_MAX
    assert set(TOKEN) <= {*LETTERS}


@given(st.integers(len("token_"), len(TOKEN) - 2), st.sampled_from(LETTERS))
def test_a_changed_token_opens_nothing(place: int, letter: str) -> None:
    changed = TOKEN[:place] + letter + TOKEN[place + 1 :]
    assert (unseal(changed, SECRET) == SESSION) == (changed == TOKEN)


@pytest.mark.parametrize(
    "token", ["token_", "token_a", "token_\xe4", "token_\ud800", "token_!!!!", "token_" + "A" * 200]
)
def test_what_was_never_sealed_opens_nothing(token: str) -> None:
    assert unseal(token, SECRET) is None


def test_an_api_key_is_no_token() -> None:
    assert not is_token("sk_test_4eC39HqLyjWDarjtT1zdp7dc")
