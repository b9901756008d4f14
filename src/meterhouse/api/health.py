"""Is it alive, is it ready, how is it: for probes and for Prometheus."""

from meterhouse.api.call import Answer, OpenRequest, ok
from meterhouse.api.house import House
from meterhouse.metrics import CONTENT_TYPE
from meterhouse.wire import envelope
from meterhouse.wire.body import to_json
from meterhouse.wire.credentials import read_authorization


async def live(_: House, __: OpenRequest) -> Answer:
    """Answer 200 as long as the process can answer at all."""
    return ok({"status": "ok"})


async def ready(house: House, _: OpenRequest) -> Answer:
    """Answer 200 when events can be taken, 503 when they would be refused."""
    problem = house.ready()
    if problem is None:
        return ok({"status": "ready"})
    return Answer(503, to_json({"status": "not ready", "reason": problem}))


async def metrics(house: House, request: OpenRequest) -> Answer:
    """Answer with Prometheus' text format, once what was held back is judged.

    They tell of all accounts, so strangers get none unless a setting says so: this machine does,
    and who has an unrestricted secret key of the default account.
    """
    if house.config.metrics != "open" and not request.local():
        await _require_default_account(house, request.authorization)
    await house.processor.reach(strong=False)
    return Answer(200, house.metrics.text(), content_type=CONTENT_TYPE)


async def _require_default_account(house: House, authorization: str | None) -> None:
    credential = await house.authentication.credential(read_authorization(authorization), "")
    default = await house.authentication.operator("", livemode=False)
    if credential.permissions is not None or credential.scope.account != default.scope.account:
        raise envelope.no_metrics(credential.hint)
