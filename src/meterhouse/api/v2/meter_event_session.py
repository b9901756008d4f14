"""`/v2/billing/meter_event_session`.

https://docs.stripe.com/api/v2/billing/meter-event-session/create
"""

from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.wire.body import to_json
from meterhouse.wire.document import Document
from meterhouse.wire.timestamp import print_timestamp, read_timestamp


async def create(call: Call) -> Answer:
    """Make a session, whose token sends events to the stream for 15 minutes.

    The answer is kept under its idempotency key without the token, which is made of the rest: a
    replay tells the same one, unless what signs was renewed or another key asks.
    """
    call.document(Document)
    sessions, key = call.services.sessions, call.credential.key
    session = sessions.begin(call.scope, key, call.now)
    document: dict[str, Any] = {
        "id": session.id,
        "object": "v2.billing.meter_event_session",
        "authentication_token": None,
        "created": print_timestamp(call.now),
        "expires_at": print_timestamp(session.expires_at),
        "livemode": session.livemode,
    }
    answer = ok(document)

    def work(_: sa.Connection) -> Answer:
        return answer

    if call.idempotency_key is not None:
        answer = await once(call, work)
        document = msgspec.json.decode(answer.body)
        ends_at = read_timestamp(document["expires_at"])
        session = msgspec.structs.replace(session, id=document["id"], expires_at=ends_at)
    document["authentication_token"] = await sessions.seal(session)
    return answer._replace(body=to_json(document))
