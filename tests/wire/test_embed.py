import pytest

from meterhouse import limits
from meterhouse.wire import session
from meterhouse.wire.embed import Embed, is_embed_token, seal, unseal
from meterhouse.wire.session import Session

SECRET = b"s" * 32
EMBED = Embed(1, "acct_1", False, "cus_1", ("mtr_1", "mtr_2"), ("model",), 10**13, "key_1")
TOKEN = seal(EMBED, SECRET)


def test_a_token_tells_what_it_permits() -> None:
    assert is_embed_token(TOKEN)
    assert unseal(TOKEN, SECRET) == EMBED
    assert unseal(TOKEN, b"t" * 32) is None


def test_the_longest_token_goes_into_a_header() -> None:
    widest = "\N{CHART WITH UPWARDS TREND}" * limits.METER_PAYLOAD_KEY_CHARS_MAX
    meters = ("mtr_test_61" + "a" * 30,) * limits.METER_USAGE_METERS_ITEMS_MAX
    keys = (widest,) * limits.METER_DIMENSION_KEYS_MAX
    account, customer, key = "acct_" + "a" * 16, "cus_" + "a" * 14, "key_" + "a" * 24
    longest = Embed(2**40, account, True, customer, meters, keys, 10**13, key)
    assert len(seal(longest, SECRET)) <= limits.EMBED_TOKEN_CHARS_MAX


def test_no_token_is_taken_for_one_of_another_kind() -> None:
    made = session.seal(Session("mes_1", 1, "acct_1", False, 10**13), SECRET)
    assert not is_embed_token(made)
    assert not session.is_token(TOKEN)
    assert unseal("embed_" + made.removeprefix("token_"), SECRET) is None
    assert session.unseal("token_" + TOKEN.removeprefix("embed_"), SECRET) is None


@pytest.mark.parametrize(
    "token", ["embed_", "embed_a", "embed_\xe4", "embed_!!!!", "embed_" + "A" * 200]
)
def test_what_was_never_sealed_permits_nothing(token: str) -> None:
    assert unseal(token, SECRET) is None
