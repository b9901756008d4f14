"""Who took an identifier, and what stands for it where there are too many to keep.

Two identifiers are the same exactly where their digests are: 16 bytes of BLAKE2b
(https://www.rfc-editor.org/rfc/rfc7693) leave a chance of 10⁻²⁰ that two of a billion meet, and
nobody can choose identifiers that do.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple, Self

DIGEST_BYTES = 16


class Claim(NamedTuple):
    """An identifier that is taken: its digest, the event's position, and the UTC day of receipt.

    The day is counted from the epoch.
    """

    digest: bytes
    position: int
    day: int


class Claims(NamedTuple):
    """Many claims, as columns: the digests, and for each the position and the day."""

    digests: list[bytes]
    positions: list[int]
    days: list[int]

    @classmethod
    def joined(cls, some: Iterable[Self]) -> Self:
        """Return several together."""
        return cls(*([*chain.from_iterable(columns)] for columns in zip(*some, strict=True)))

    def by_day(self) -> dict[int, list[bytes]]:
        """Return the digests of each day."""
        if len(set(self.days)) == 1:
            return {self.days[0]: self.digests}
        days: dict[int, list[bytes]] = {}
        for digest, day in zip(self.digests, self.days, strict=True):
            days.setdefault(day, []).append(digest)
        return days


def identifier_digest(scope: int, identifier: str) -> bytes:
    """Return the digest of an identifier in a scope, which is named by its number."""
    digest = _begun(scope).copy()
    digest.update(identifier.encode())
    return digest.digest()


def identifier_digests(scopes: Iterable[int], identifiers: Iterable[bytes]) -> list[bytes]:
    """Return the digests of many encoded identifiers, each in its scope."""
    digests = []
    for scope, identifier in zip(scopes, identifiers, strict=True):
        digest = _begun(scope).copy()
        digest.update(identifier)
        digests.append(digest.digest())
    return digests


def partition_of(digest: bytes, partitions: int) -> int:
    """Return which of so many partitions of the journal an identifier belongs to."""
    return int.from_bytes(digest[:8], "little") % partitions


@lru_cache(maxsize=1_000)
def _begun(scope: int) -> blake2b:
    """Return a digest of what comes before every identifier of a scope; a copy costs less."""
    return blake2b(b"%d:" % scope, digest_size=DIGEST_BYTES)
