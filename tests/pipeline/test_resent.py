from collections.abc import Mapping, Sequence
from decimal import Decimal

from meterhouse.metering.identifier import Claim
from meterhouse.metering.model import AcceptedEvent
from meterhouse.pipeline.resent import without_own
from tests.metering.samples import event

A, B = b"a" * 16, b"b" * 16
TAKEN = {A: 20_000, B: 20_001}


def accepted(position: int, resend_of: int | None = None) -> AcceptedEvent:
    return AcceptedEvent(position, event(resend_of=resend_of), "mtr_1", "cus_1", Decimal(1))


def claims(digests: Sequence[bytes]) -> Mapping[bytes, Claim]:
    """Tell who claimed: event 3 the first identifier, event 4 the second."""
    return {
        digest: Claim(digest, {A: 3, B: 4}[digest], 20_000) for digest in digests if digest in TAKEN
    }


def test_the_claim_of_the_very_event_does_not_stand_against_it() -> None:
    events = [accepted(10, resend_of=3), accepted(11, resend_of=3)]
    assert without_own(TAKEN, events, [A, B], claims) == {B: 20_001}


def test_the_claim_of_another_event_does() -> None:
    assert without_own(TAKEN, [accepted(10, resend_of=4)], [A], claims) == TAKEN


def test_nobody_is_asked_where_nothing_is_resent() -> None:
    def nobody(_: Sequence[bytes]) -> Mapping[bytes, Claim]:
        raise AssertionError("the usage store is asked")

    events = [accepted(10), accepted(11, resend_of=3), accepted(12)]
    assert without_own(TAKEN, events, [A, b"c" * 16, None], nobody) is TAKEN
