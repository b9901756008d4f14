import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.identifier import (
    DIGEST_BYTES,
    Claims,
    identifier_digest,
    partition_of,
)

scopes = st.integers(1, 2**31)
names = st.text(max_size=100)


@given(scopes, names, scopes, names)
def test_a_digest_stands_for_a_scope_and_an_identifier(
    scope: int, name: str, other_scope: int, other: str
) -> None:
    one, another = identifier_digest(scope, name), identifier_digest(other_scope, other)
    assert len(one) == DIGEST_BYTES
    assert (one == another) == ((scope, name) == (other_scope, other))


@pytest.mark.parametrize(("scope", "other"), [((1, "1:a"), (11, "a")), ((1, ":a"), (1, "a"))])
def test_a_scope_and_an_identifier_do_not_run_together(
    scope: tuple[int, str], other: tuple[int, str]
) -> None:
    assert identifier_digest(*scope) != identifier_digest(*other)


def test_a_digest_stays_the_same_over_versions() -> None:
    """The usage store keeps digests for as long as identifiers are taken."""
    assert identifier_digest(1, "event-1").hex() == "d364b05de4b4ba197974673dc3bdcd57"


@pytest.mark.parametrize(
    ("digest", "partitions", "partition"),
    [
        ("d364b05de4b4ba197974673dc3bdcd57", 1, 0),
        ("d364b05de4b4ba197974673dc3bdcd57", 8, 3),
        ("d364b05de4b4ba197974673dc3bdcd57", 10, 9),
        ("ffffffffffffffff0000000000000000", 1_000, 615),
    ],
)
def test_a_partition_stays_the_same_over_versions(
    digest: str, partitions: int, partition: int
) -> None:
    """It is the number that the usage store keeps of a digest, modulo the number of partitions."""
    assert partition_of(bytes.fromhex(digest), partitions) == partition


def test_claims_by_day() -> None:
    claims = Claims([b"a", b"b", b"c"], [1, 2, 3], [7, 8, 7])
    assert claims.by_day() == {7: [b"a", b"c"], 8: [b"b"]}
    assert Claims([b"a", b"b"], [1, 2], [7, 7]).by_day() == {7: [b"a", b"b"]}
    assert Claims([], [], []).by_day() == {}
