"""What signs, without a ledger."""

from typing import cast

from meterhouse.signing import Signing
from meterhouse.wire.signing import SigningKeys, signing_keys


class Fixed:
    """Has the keys of one secret, until it is given another."""

    def __init__(self, secret: bytes = b"s" * 32) -> None:
        self.secret = secret

    async def keys(self) -> SigningKeys:
        """Return the keys, as `Signing` does."""
        return signing_keys(self.secret)


def fixed(secret: bytes = b"s" * 32) -> Signing:
    """Return what always signs with the keys of one secret."""
    return cast("Signing", Fixed(secret))
