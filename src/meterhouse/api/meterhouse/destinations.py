"""`/meterhouse/v1/destinations/{id}/roll_secret`: a new secret in place of the old one."""

from typing import Annotated

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api import destination
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.ledger import destinations
from meterhouse.ledger.destinations import Secret
from meterhouse.render.instant import seconds
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_signing_secret
from meterhouse.wire.params import Between, RequestParams

_SECONDS_MAX = limits.DESTINATION_SECRET_HOURS_MAX * 3_600


class Roll(RequestParams):
    """For how many seconds the secrets that count now go on to do so."""

    expires_in: Annotated[int, Between(0, _SECONDS_MAX)] = _SECONDS_MAX


async def roll_secret(call: Call) -> Answer:
    """Make a new secret, which is told only now; until the old ones expire, all of them sign."""
    params = call.params(Roll)
    check_expand(params.expand)
    secret = new_signing_secret()
    expires_at = call.now + params.expires_in * 1000

    def work(connection: sa.Connection) -> Answer:
        before = destinations.find_destination(connection, call.scope.id, call.ids[0], lock=True)
        if before is None:
            raise envelope.no_such("destination", call.ids[0])
        old = [
            Secret(one.secret, min(one.expires_at or expires_at, expires_at))
            for one in before.valid_secrets(call.now)
        ]
        kept = [Secret(secret, None), *old][: limits.DESTINATION_SECRETS_MAX]
        destination.change(connection, call, before, secrets=kept)
        return ok(
            {
                "object": "meterhouse.signing_secret",
                "destination": before.id,
                "livemode": call.scope.livemode,
                "previous_expires_at": seconds(expires_at),
                "secret": destination.withheld(secret),
            }
        )

    return await destination.tell_secret(call, await once(call, work), secret, "secret")
