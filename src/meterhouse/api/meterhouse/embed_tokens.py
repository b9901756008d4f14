"""`/meterhouse/v1/embed_tokens`: a token with which a browser can show one customer's usage.

Nothing is kept of it: it says itself what it permits, and until when.
"""

from typing import Annotated

import sqlalchemy as sa
from msgspec import field

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import customers, meters
from meterhouse.render.instant import seconds
from meterhouse.wire import envelope, refusals
from meterhouse.wire.embed import Embed
from meterhouse.wire.expand import check_expand
from meterhouse.wire.param_errors import invalid_empty
from meterhouse.wire.params import Between, Items, RequestParams


class EmbedTokenCreate(RequestParams, kw_only=True):
    """The parameters: what the token is bound to, and for how many seconds it lasts."""

    customer: str
    meters: Annotated[list[str], Items(limits.METER_USAGE_METERS_ITEMS_MAX)]
    dimension_group_by_keys: Annotated[
        list[str], Items(limits.METER_DIMENSION_KEYS_MAX, limits.METER_PAYLOAD_KEY_CHARS_MAX)
    ] = field(default_factory=list)
    expires_in: Annotated[
        int, Between(limits.EMBED_TOKEN_LEAST_SECONDS, limits.EMBED_TOKEN_SECONDS_MAX)
    ] = limits.EMBED_TOKEN_SECONDS_DEFAULT


async def create(call: Call) -> Answer:
    """Make a token; it is told only now."""
    params = call.params(EmbedTokenCreate)
    check_expand(params.expand)
    permitted = await call.read(_permitted, call, params)
    return ok(
        {
            "object": "meterhouse.embed_token",
            "created": seconds(call.now),
            "customer": permitted.customer,
            "dimension_group_by_keys": permitted.dimensions,
            "expires_at": seconds(permitted.expires_at),
            "livemode": permitted.livemode,
            "meters": permitted.meters,
            "token": await call.services.embed_tokens.seal(permitted),
        }
    )


def _permitted(connection: sa.Connection, call: Call, params: EmbedTokenCreate) -> Embed:
    """Find what a token is to be bound to; refuse what is not there."""
    scope = call.scope
    if not params.meters:
        raise invalid_empty("meters")
    if customers.find_customer(connection, scope.id, params.customer) is None:
        raise envelope.no_such("customer", params.customer, "customer")
    found = meters.by_ids(connection, params.meters)
    for index, one in enumerate(params.meters):
        if one not in found or found[one].scope != scope.id:
            raise envelope.no_such("billing meter", one, f"meters[{index}]")
    declared = {key for meter in found.values() for key in meter.dimension_keys or ()}
    for index, key in enumerate(params.dimension_group_by_keys):
        if key not in declared:
            raise refusals.dimension_of_none(key, f"dimension_group_by_keys[{index}]")
    return Embed(
        scope.id,
        scope.account,
        scope.livemode,
        params.customer,
        tuple(dict.fromkeys(params.meters)),
        tuple(dict.fromkeys(params.dimension_group_by_keys)),
        call.now + params.expires_in * 1000,
        call.credential.key,
    )
