"""Is it alive, is it ready, how is it: for probes and for Prometheus."""

from meterhouse.api.call import Answer, OpenRequest, ok
from meterhouse.api.services import Services
from meterhouse.metrics import CONTENT_TYPE
from meterhouse.wire import envelope
from meterhouse.wire.body import to_json
from meterhouse.wire.credentials import read_authorization


async def live(_: Services, __: OpenRequest) -> Answer:
    """Answer 200 as long as the process can answer at all."""
    return ok({"status": "ok"})


async def ready(services: Services, _: OpenRequest) -> Answer:
    """Answer 200 when events can be taken, 503 when they would be refused."""
    problem = services.ready()
    if problem is None:
        return ok({"status": "ready"})
    return Answer(503, to_json({"status": "not ready", "reason": problem}))


async def metrics(services: Services, request: OpenRequest) -> Answer:
    """Answer with Prometheus' text format, once what was held back is judged.

    They tell of all accounts, so strangers get none unless a setting says so: this machine does,
    and who has an unrestricted secret key of the default account.
    """
    if services.config.metrics != "open" and not request.local():
        await _require_default_account(services, request.authorization)
    await services.progress.reach(strong=False)
    return Answer(200, services.metrics.text(), content_type=CONTENT_TYPE)


async def _require_default_account(services: Services, authorization: str | None) -> None:
    credential = await services.authentication.credential(read_authorization(authorization), "")
    default = await services.authentication.operator("", livemode=False)
    if credential.permissions is not None or credential.scope.account != default.scope.account:
        raise envelope.no_metrics(credential.hint)
