"""`/v2/billing/meter_event_session`.

https://docs.stripe.com/api/v2/billing/meter-event-session/create
"""

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.wire.document import Document
from meterhouse.wire.timestamp import print_timestamp


async def create(call: Call) -> Answer:
    """Make a session, whose token sends events to the stream for 15 minutes."""
    call.document(Document)
    session, token = await call.house.sessions.create(call.scope, call.credential.key, call.now)
    answer = ok(
        {
            "id": session.id,
            "object": "v2.billing.meter_event_session",
            "authentication_token": token,
            "created": print_timestamp(call.now),
            "expires_at": print_timestamp(session.expires_at),
            "livemode": session.livemode,
        }
    )

    def work(_: sa.Connection) -> Answer:
        return answer

    return answer if call.idempotency_key is None else await once(call, work)
