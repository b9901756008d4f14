"""`/meterhouse/v1/verification`: the operator's question whether the books balance.

Only the command line of the same machine may ask: it shows the token that the server wrote into
its data folder at start.
"""

from meterhouse.api.call import Answer, OpenRequest, ok
from meterhouse.api.services import Services, require_operator


async def start(services: Services, request: OpenRequest) -> Answer:
    """Begin a verification, or join the one that is running."""
    require_operator(services, request.authorization)
    await services.progress.reach(strong=False)
    await services.verification.start()
    return ok(await services.verification.state())


async def retrieve(services: Services, request: OpenRequest) -> Answer:
    """Tell how far the verification is, and what it found."""
    require_operator(services, request.authorization)
    return ok(await services.verification.state())
