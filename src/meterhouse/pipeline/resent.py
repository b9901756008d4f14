"""Resent events among others: which claims do not stand against them.

An event that was submitted alone keeps the claim on its identifier when it is rejected. Sent again,
it would be a duplicate of itself.
"""

from collections.abc import Callable, Mapping, Sequence

from meterhouse.metering.identifier import Claim
from meterhouse.metering.model import AcceptedEvent

FindClaims = Callable[[Sequence[bytes]], Mapping[bytes, Claim]]


def without_own(
    taken: Mapping[bytes, int],
    accepted: Sequence[AcceptedEvent],
    digests: Sequence[bytes | None],
    find: FindClaims,
) -> Mapping[bytes, int]:
    """Leave out of `taken` the claims of the rejected events that are resent.

    `taken` are the days of claims by digest, `digests` those of the events' identifiers; `find`
    asks the usage store. A claim that is not stored there yet stands against a commit, so the batch
    is judged anew once it is.
    """
    resent = {
        digest: one.event.resend_of
        for one, digest in zip(accepted, digests, strict=True)
        if one.event.resend_of is not None and digest in taken
    }
    if not resent:
        return taken
    claims = find([digest for digest in resent if digest is not None])
    own = {digest for digest, claim in claims.items() if claim.position == resent[digest]}
    return {digest: day for digest, day in taken.items() if digest not in own}
