"""`/meterhouse/v1/verification`: the operator's question whether the books balance.

Only the command line of the same machine may ask: it shows the token that the server wrote into
its data folder at start.
"""

from meterhouse.api.call import Answer, OpenRequest, ok
from meterhouse.api.house import House, require_operator


async def start(house: House, request: OpenRequest) -> Answer:
    """Begin a verification, or join the one that is running."""
    require_operator(house, request.authorization)
    await house.processor.reach(strong=False)
    house.verification.start()
    return ok(house.verification.state())


async def retrieve(house: House, request: OpenRequest) -> Answer:
    """Tell how far the verification is, and what it found."""
    require_operator(house, request.authorization)
    return ok(house.verification.state())
