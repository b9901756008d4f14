from collections.abc import Mapping, Sequence

import pytest

from meterhouse.judging.resent import without_own
from meterhouse.metering.identifier import Claim

A, B = b"a" * 16, b"b" * 16
TAKEN = {A: 20_000, B: 20_001}


def claims(digests: Sequence[bytes]) -> Mapping[bytes, Claim]:
    """Tell who claimed: event 3 the first identifier, event 4 the second."""
    return {
        digest: Claim(digest, {A: 3, B: 4}[digest], 20_000) for digest in digests if digest in TAKEN
    }


def test_the_claim_of_the_very_event_does_not_stand_against_it() -> None:
    assert without_own(TAKEN, {A: 3, B: 3}, claims) == {B: 20_001}


def test_the_claim_of_another_event_does() -> None:
    assert without_own(TAKEN, {A: 4}, claims) == TAKEN


@pytest.mark.parametrize("resent", [{}, {b"c" * 16: 3}])
def test_nobody_is_asked_where_nothing_is_resent_that_is_taken(resent: dict[bytes, int]) -> None:
    def nobody(_: Sequence[bytes]) -> Mapping[bytes, Claim]:
        raise AssertionError("the usage store is asked")

    assert without_own(TAKEN, resent, nobody) is TAKEN
