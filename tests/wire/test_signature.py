import hashlib
import hmac

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.wire.signature import sign

NOW = 1_700_000_000_999


def test_the_scheme() -> None:
    expected = hmac.new(b"whsec_a", b"1700000000.{}", hashlib.sha256).hexdigest()
    assert sign(["whsec_a"], b"{}", NOW) == f"t=1700000000,v1={expected}"


def test_each_secret_signs_and_the_sdk_takes_any() -> None:
    header = sign(["whsec_new", "whsec_old"], b'{"a": 1}', NOW)
    assert header.count(",v1=") == 2
    for secret in ("whsec_new", "whsec_old"):
        assert stripe.WebhookSignature.verify_header('{"a": 1}', header, secret)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header('{"a": 1}', header, "whsec_other")


@given(st.text(), st.text(st.characters(categories=["L", "N"]), min_size=1))
def test_the_sdk_verifies_every_body(body: str, secret: str) -> None:
    header = sign([secret], body.encode(), NOW)
    assert stripe.WebhookSignature.verify_header(body, header, secret)
