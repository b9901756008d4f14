"""Every kind of secret that the program can make, each in a text."""

import ast
import asyncio
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meterhouse
from meterhouse import masking
from meterhouse.clock import ManualClock
from meterhouse.dashboard.known import Browsers
from meterhouse.masking import masked
from meterhouse.wire import embed, session
from meterhouse.wire.ids import new_id, new_secret_key, new_signing_secret, new_token
from meterhouse.wire.stripecli import listen_secret
from tests.signing import fixed

SOURCES = Path(meterhouse.__file__).parent
KEY = b"s" * 32
BOUND = embed.Embed(1, "acct_1", False, "cus_1", ("mtr_1",), (), 10**13, "key_1")
SESSION = session.Session("mes_1", 1, "acct_1", True, 10**13, "key_1")

MADE: dict[str, Callable[[], str]] = {
    "sk_test_": lambda: new_secret_key("sk", livemode=False),
    "sk_live_": lambda: new_secret_key("sk", livemode=True),
    "rk_test_": lambda: new_secret_key("rk", livemode=False),
    "rk_live_": lambda: new_secret_key("rk", livemode=True),
    "whsec_": new_signing_secret,
    "cliws_": lambda: new_id("cliws"),
    "token_": lambda: session.seal(SESSION, KEY),
    "embed_": lambda: embed.seal(BOUND, KEY),
    "operator_": lambda: new_token(masking.OPERATOR_TOKEN),
    "signed_in_": lambda: new_token(masking.DASHBOARD_SESSION),
    "link_": lambda: new_token(masking.DASHBOARD_LINK),
    "view_": lambda: new_token(masking.INVOICE_LINK),
    "known_": lambda: asyncio.run(Browsers(ManualClock(0), fixed()).remember("ada"))[1],
}


@pytest.mark.parametrize("prefix", MADE)
@pytest.mark.parametrize(
    "around", ["/v1/customers/{}/x", "No such customer: '{}'", "a={}&b", "x{}"]
)
def test_every_kind_is_masked_wherever_it_stands(prefix: str, around: str) -> None:
    secret = MADE[prefix]()
    assert secret.startswith(prefix)
    assert masked(around.format(secret)) == around.format(f"{prefix}****")


def test_so_is_what_signs_for_a_listening_cli() -> None:
    assert masked(listen_secret(KEY, "acct_1", "laptop", livemode=False)) == "whsec_****"


@pytest.mark.parametrize("text", ["sk_test_a", "rk_live_\N{GREEK SMALL LETTER ALPHA}b", "whsec_1"])
def test_what_people_may_have_chosen_is_masked_however_short(text: str) -> None:
    assert masked(text).endswith("_****")


@pytest.mark.parametrize(
    "text",
    [
        "/meterhouse/v1/embed_tokens",
        "/v1/billing/meters/mtr_test_61abc",
        "token_usage_of_2026_11",
        "known_customers",
        "Invalid API Key provided: sk_test_****1a2B",
        "sk_test_",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


@given(
    st.text(),
    st.sampled_from(sorted(MADE)),
    st.text(string.ascii_letters + string.digits + "-_", min_size=32),
)
def test_nothing_of_a_secret_is_left(before: str, prefix: str, rest: str) -> None:
    assert rest not in masked(f"{before}{prefix}{rest}").removeprefix(before)
    assert masked(f"{before} {prefix}{rest}").endswith(f"{prefix}****")


def _makers() -> Iterator[str]:
    for path in SOURCES.rglob("*.py"):
        calls = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        if any(call.endswith(("token_urlsafe", "secrets.choice")) for call in calls):
            yield str(path.relative_to(SOURCES))


def test_one_place_makes_random_secrets() -> None:
    assert list(_makers()) == ["wire/ids.py"]
