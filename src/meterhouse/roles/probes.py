"""Probes: whether a process that only works is alive, whether it is ready, and how it is."""

from typing import Any

from meterhouse.dashboard.client import Receive, Scope, Send
from meterhouse.metrics import CONTENT_TYPE
from meterhouse.proxies import comes_straight
from meterhouse.roles.answering import Work
from meterhouse.roles.common import Common
from meterhouse.wire.body import to_json

_JSON = "application/json"
_NO_METRICS = (
    "Metrics are for this machine. Set METERHOUSE_METRICS to 'open' where others may read them."
)
_NOT_HERE = "This process only works: ask one with the role 'api'."


class Probes:
    """The ASGI application of a worker."""

    def __init__(self, common: Common, work: Work) -> None:
        self._common = common
        self._work = work

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Answer one request; nobody takes up a websocket."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        status, body, kind = self._answer(scope)
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        shown = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": shown})

    def _answer(self, scope: Scope) -> tuple[int, bytes, str]:
        asks = scope["method"] in ("GET", "HEAD")
        if asks and scope["path"] == "/healthz":
            return 200, to_json({"status": "ok"}), _JSON
        if asks and scope["path"] == "/readyz":
            problem = self.problem()
            told: dict[str, Any] = {"status": "not ready" if problem else "ready"}
            return (
                503 if problem else 200,
                to_json(told | ({"reason": problem} if problem else {})),
                _JSON,
            )
        if asks and scope["path"] == "/metrics":
            if self._common.config.metrics != "open" and not _is_local(scope):
                return 403, to_json({"error": {"message": _NO_METRICS}}), _JSON
            return 200, self._common.metrics.text(), CONTENT_TYPE
        return 404, to_json({"error": {"message": _NOT_HERE}}), _JSON

    def problem(self) -> str | None:
        """Return why nothing is processed here, None when it is."""
        common = self._common
        return common.timekeeper.behind() or common.stores.trouble() or self._work.trouble()


def _is_local(scope: Scope) -> bool:
    peer = scope["client"][0] if scope["client"] else ""
    return comes_straight(dict(scope["headers"]), peer, scope["http_version"])
