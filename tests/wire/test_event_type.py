import pytest

from meterhouse.wire.event_type import is_pattern, matches, may_match
from meterhouse.wire.notification import Payload


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", True),
        ("billing.meter.created", True),
        ("billing.meter.*", True),
        ("v1.billing.meter.error_report_triggered", True),
        ("v2.core.event_destination.ping", True),
        ("customer.*", True),
        ("", False),
        ("**", False),
        ("billing.*.created", False),
        ("billing.met*", False),
        (".created", False),
        ("Billing.Meter", False),
        ("billing meter", False),
    ],
)
def test_patterns(text: str, expected: bool) -> None:
    assert is_pattern(text) == expected


@pytest.mark.parametrize(
    ("patterns", "type_", "expected"),
    [
        (["*"], "customer.created", True),
        (["customer.created"], "customer.created", True),
        (["customer.created"], "customer.created.twice", False),
        (["customer.*"], "customer.created", True),
        (["customer.*"], "customers.created", False),
        (["customer.*"], "customer", False),
        (["a.b", "billing.*"], "billing.meter.created", True),
        ([], "customer.created", False),
        (["v1.billing.*"], "billing.meter.created", False),
    ],
)
def test_matches(patterns: list[str], type_: str, expected: bool) -> None:
    assert matches(patterns, type_) == expected


@pytest.mark.parametrize(
    ("pattern", "payload", "expected"),
    [
        ("*", "snapshot", True),
        ("*", "thin", True),
        ("billing.meter.created", "snapshot", True),
        ("billing.meter.created", "thin", False),
        ("v1.billing.meter.created", "thin", True),
        ("v1.billing.meter.created", "snapshot", False),
        ("v2.core.*", "thin", True),
        ("v2.core.*", "snapshot", False),
        ("vaults.*", "snapshot", True),
    ],
)
def test_a_pattern_is_for_one_payload(pattern: str, payload: Payload, expected: bool) -> None:
    assert may_match(pattern, payload) == expected
