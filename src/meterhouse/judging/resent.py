"""Resent events among others: which claims do not stand against them.

An event that was submitted alone keeps the claim on its identifier when it is rejected. Sent again,
it would be a duplicate of itself.
"""

from collections.abc import Callable, Mapping, Sequence

from meterhouse.metering.identifier import Claim

FindClaims = Callable[[Sequence[bytes]], Mapping[bytes, Claim]]


def without_own(
    taken: Mapping[bytes, int], resent: Mapping[bytes, int], find: FindClaims
) -> Mapping[bytes, int]:
    """Leave out of `taken` the claims of the rejected events that are resent.

    `taken` are the days of claims by digest; `resent` are, by the digests of their identifiers, the
    positions of the rejected events; `find` asks the usage store. A claim that is not stored there
    yet stands against a commit, so the batch is judged anew once it is.
    """
    asked = [digest for digest in resent if digest in taken]
    if not asked:
        return taken
    claims = find(asked)
    own = {digest for digest, claim in claims.items() if claim.position == resent[digest]}
    return {digest: day for digest, day in taken.items() if digest not in own}
