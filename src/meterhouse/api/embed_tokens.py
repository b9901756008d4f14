"""Embed tokens: made for one customer, checked without a look-up."""

from collections.abc import Iterable

from meterhouse import limits
from meterhouse.api.authentication import Credential
from meterhouse.metering.model import Scope
from meterhouse.signing import Signing
from meterhouse.wire import embed, envelope, refusals
from meterhouse.wire.credentials import mask
from meterhouse.wire.embed import Embed

_LASTS_MAX = limits.EMBED_TOKEN_SECONDS_MAX * 1000 + limits.CLOCK_APART_MINUTES_MAX * 60_000


class EmbedTokens:
    """Makes and checks tokens; every node takes every node's, as long as they share a secret."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing

    async def seal(self, permitted: Embed) -> str:
        """Return the token that permits this."""
        return embed.seal(permitted, (await self._signing.keys()).embed_tokens)

    async def open(self, token: str, now: int) -> Embed:
        """Return what a token permits; refuse with 401 one that is not ours or that is over."""
        permitted = embed.unseal(token, (await self._signing.keys()).embed_tokens)
        if permitted is None:
            raise envelope.invalid_api_key(mask(token))
        if not now < permitted.expires_at <= now + _LASTS_MAX:  # nor was it made by a clock ahead
            raise refusals.embed_token_expired()
        return permitted

    async def credential(self, token: str, account: str, now: int) -> Credential:
        """Return what a token opens: reading meter usage, as far as it permits that.

        Refuses with 403 a token of another account than the `account` that is named.
        """
        permitted = await self.open(token, now)
        if account and account != permitted.account:
            raise envelope.account_denied(mask(token), account)
        scope = Scope(permitted.scope, permitted.account, permitted.livemode)
        return Credential(
            scope, {"billing_meter_usage": "read"}, mask(token), permitted, key=permitted.key
        )


def check_customer(permitted: Embed, customer: str) -> None:
    """Refuse with 403 another customer than the token's."""
    if customer != permitted.customer:
        raise refusals.not_embedded("customer", customer, "customer")


def check_meter(
    permitted: Embed, meter: str, dimensions: Iterable[str], tenants: Iterable[str], param: str
) -> None:
    """Refuse with 403 a question about a meter that the token does not permit.

    `dimensions` and `tenants` are the keys that it groups or filters by.
    """
    if meter not in permitted.meters:
        raise refusals.not_embedded("meter", meter, param)
    for key in dimensions:
        if key not in permitted.dimensions:
            raise refusals.not_embedded("dimension", key, param)
    for key in tenants:
        raise refusals.not_embedded("tenant", key, param)
