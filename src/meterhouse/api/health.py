"""Is it alive, is it ready, how is it: for probes and for Prometheus."""

from meterhouse.api.call import Answer, ok
from meterhouse.api.house import House
from meterhouse.metrics import CONTENT_TYPE
from meterhouse.wire.body import to_json


async def live(_: House, __: str | None) -> Answer:
    """Answer 200 as long as the process can answer at all."""
    return ok({"status": "ok"})


async def ready(house: House, _: str | None) -> Answer:
    """Answer 200 when events can be taken, 503 when they would be refused."""
    problem = house.ready()
    if problem is None:
        return ok({"status": "ready"})
    return Answer(503, to_json({"status": "not ready", "reason": problem}))


async def metrics(house: House, _: str | None) -> Answer:
    """Answer with Prometheus' text format, once what was held back is judged."""
    await house.processor.reach(strong=False)
    return Answer(200, house.metrics.text(), content_type=CONTENT_TYPE)
