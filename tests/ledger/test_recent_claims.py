import threading

import pytest

from meterhouse.ledger import recent_claims
from meterhouse.ledger.engine import Ledger, open_ledger

A, B, C = b"a" * 16, b"b" * 16, b"\x00\xff" * 8


def test_what_was_claimed_before_is_told(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert recent_claims.take(connection, [], 5) == set()
        assert recent_claims.take(connection, [B, A, B], 5) == set()
        assert recent_claims.take(connection, [C, B], 6) == {B}
    with ledger.write() as connection:
        assert recent_claims.expire(connection, before=6, rows_max=1) == 1
        assert recent_claims.expire(connection, before=6, rows_max=9) == 1
        assert recent_claims.take(connection, [A, B, C], 7) == {C}


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_of_two_that_claim_at_once_one_hears_that_it_is_taken(ledger: Ledger, url: str) -> None:
    """Given many claims in different orders, then each is one's, and nobody waits for ever."""
    digests = [number.to_bytes(16, "little") for number in range(500)]
    taken: list[set[bytes]] = []

    def claim(some: list[bytes]) -> None:
        with open_ledger(url) as mine, mine.write() as connection:
            both.wait()
            taken.append(recent_claims.take(connection, some, 5))

    both = threading.Barrier(2)
    threads = [threading.Thread(target=claim, args=(some,)) for some in (digests, digests[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, taken)) == [0, 500]
    del ledger
