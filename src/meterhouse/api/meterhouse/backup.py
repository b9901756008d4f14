"""`/meterhouse/v1/backup`: the operator's wish for a snapshot of both stores.

Only the command line of the same machine may ask: it reads the snapshot, which is in the data
folder, and puts it into an archive.
"""

from meterhouse.api.call import Answer, OpenRequest, ok
from meterhouse.api.services import Services, require_operator
from meterhouse.ledger.audit import OPERATOR, Origin, note


async def start(services: Services, request: OpenRequest) -> Answer:
    """Begin a snapshot; one that there is goes."""
    require_operator(services, request.authorization)
    origin = Origin(OPERATOR, services.clock.now(), request.address, request.request)
    await services.stores.write(note, origin, "backup.created", None, None)
    await services.snapshots.start()
    return ok(services.snapshots.state())


async def retrieve(services: Services, request: OpenRequest) -> Answer:
    """Tell how far the snapshot is, and where."""
    require_operator(services, request.authorization)
    return ok(services.snapshots.state())


async def delete(services: Services, request: OpenRequest) -> Answer:
    """Let the snapshot go."""
    require_operator(services, request.authorization)
    await services.snapshots.drop()
    return ok(services.snapshots.state())
