"""`/meterhouse/v1/backup`: the operator's wish for a snapshot of both stores.

Only the command line of the same machine may ask: it reads the snapshot, which is in the data
folder, and puts it into an archive.
"""

from meterhouse.api.call import Answer, OpenRequest, ok
from meterhouse.api.house import House, require_operator
from meterhouse.ledger.audit import OPERATOR, Origin, note


async def start(house: House, request: OpenRequest) -> Answer:
    """Begin a snapshot; one that there is goes."""
    require_operator(house, request.authorization)
    origin = Origin(OPERATOR, house.clock.now(), request.address, request.request)
    await house.stores.write(note, origin, "backup.created", None, None)
    await house.snapshots.start()
    return ok(house.snapshots.state())


async def retrieve(house: House, request: OpenRequest) -> Answer:
    """Tell how far the snapshot is, and where."""
    require_operator(house, request.authorization)
    return ok(house.snapshots.state())


async def delete(house: House, request: OpenRequest) -> Answer:
    """Let the snapshot go."""
    require_operator(house, request.authorization)
    await house.snapshots.drop()
    return ok(house.snapshots.state())
