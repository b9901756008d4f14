import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.errors import Refusal
from meterhouse.wire import credentials

KEY = "sk_test_51RecRecRec1a2B"


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {KEY}",
        f"bearer {KEY}",
        f"Bearer   {KEY} ",
        basic(f"{KEY}:"),
        basic(KEY),
        basic(f"{KEY}:").replace("Basic", "basic"),
    ],
)
def test_reads_a_key(header: str) -> None:
    assert credentials.read_authorization(header) == KEY


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", KEY, f"Digest {KEY}", "Basic !!!", "Basic \xfc", basic(":"),
     "Basic /w=="],
)  # fmt: skip
def test_refuses_a_header_without_a_key(header: str | None) -> None:
    with pytest.raises(Refusal, match="You did not provide an API key") as caught:
        credentials.read_authorization(header)
    assert caught.value.status == 401


def test_refuses_a_password() -> None:
    with pytest.raises(Refusal, match=r"Invalid API Key provided: sk_test_\*\*\*\*1a2B$"):
        credentials.read_authorization(basic(f"{KEY}:password"))


def test_refuses_a_key_of_any_length() -> None:
    with pytest.raises(Refusal, match="Invalid API Key provided") as caught:
        credentials.read_authorization(f"Bearer sk_test_{'x' * 100_000}")
    assert len(caught.value.message) < 100


@given(st.text())
def test_any_header_gives_a_key_or_a_refusal(header: str) -> None:
    try:
        assert credentials.read_authorization(header)
    except Refusal as refusal:
        assert refusal.status == 401  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    ("key", "kind", "live", "masked"),
    [
        (KEY, "secret", False, "sk_test_****1a2B"),
        ("sk_live_51RecRecRec1a2B", "secret", True, "sk_live_****1a2B"),
        ("rk_test_51RecRecRec1a2B", "restricted", False, "rk_test_****1a2B"),
        ("rk_live_51RecRecRec1a2B", "restricted", True, "rk_live_****1a2B"),
        ("sk_test_12345678", "secret", False, "sk_test_****5678"),
        ("sk_test_1234567", "secret", False, "sk_test_****"),
        ("pk_test_51RecRecRec1a2B", None, False, "****1a2B"),
        ("password", None, False, "****word"),
        ("secret", None, False, "****"),
        ("", None, False, "****"),
    ],
)
def test_kinds_and_masks(key: str, kind: str | None, live: bool, masked: str) -> None:
    assert credentials.kind_of(key) == kind
    assert credentials.is_live(key) is live
    assert credentials.mask(key) == masked


def test_digest() -> None:
    assert credentials.digest(KEY) == hashlib.sha256(KEY.encode()).digest()
    assert len(credentials.digest("\ud800")) == 32


def test_reads_permissions() -> None:
    assert credentials.parse_permissions(" billing_meters:read, billing_meter_events:write ,") == {
        "billing_meters": "read",
        "billing_meter_events": "write",
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no permission given"),
        ("meters:read", "'meters' is not one of account, "),
        ("billing_meters", "must end in ':read' or ':write'"),
        ("billing_meters:delete", "must end in ':read' or ':write'"),
    ],
)
def test_refuses_permissions(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        credentials.parse_permissions(text)


def test_write_includes_read() -> None:
    granted = credentials.parse_permissions("customers:write,account:read")
    assert credentials.permits(granted, "customers", "read")
    assert credentials.permits(granted, "customers", "write")
    assert credentials.permits(granted, "account", "read")
    assert not credentials.permits(granted, "account", "write")
    assert not credentials.permits(granted, "billing_meters", "read")
