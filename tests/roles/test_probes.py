"""What a process answers that only works."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from meterhouse.config import Config
from meterhouse.metrics import Metrics
from meterhouse.roles.answering import Work
from meterhouse.roles.common import Common
from meterhouse.roles.probes import Probes

LOCAL = ("127.0.0.1", 4711)


def probes(problem: str | None = None, metrics: str = "local") -> Probes:
    common = SimpleNamespace(
        config=Config.read({"metrics": metrics}, {}),
        metrics=Metrics(),
        timekeeper=SimpleNamespace(behind=lambda: None),
        stores=SimpleNamespace(trouble=lambda: None),
    )
    work = SimpleNamespace(trouble=lambda: problem)
    return Probes(cast("Common", common), cast("Work", work))


def ask(
    asked: Probes,
    method: str,
    path: str,
    client: tuple[str, int] = LOCAL,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    async def body() -> httpx.Response:
        transport = httpx.ASGITransport(cast("Any", asked), client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return await http.request(method, path, headers=headers)

    return asyncio.run(body())


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/healthz", 200, '{"status":"ok"}'),
        ("HEAD", "/healthz", 200, ""),
        ("GET", "/readyz", 200, '{"status":"ready"}'),
        ("GET", "/metrics", 200, "meterhouse_journal_events"),
        ("POST", "/healthz", 404, "with the role 'api'"),
        ("GET", "/v1/customers", 404, "with the role 'api'"),
        ("GET", "/", 404, "with the role 'api'"),
    ],
)
def test_a_worker_answers_probes_alone(method: str, path: str, status: int, text: str) -> None:
    answer = ask(probes(), method, path)
    assert answer.status_code == status
    assert text in answer.text


def test_a_worker_that_cannot_work_is_not_ready_and_says_why() -> None:
    answer = ask(probes("The disk is full."), "GET", "/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "reason": "The disk is full."}


def test_metrics_are_for_this_machine_unless_a_setting_opens_them() -> None:
    far = ("192.0.2.7", 4711)
    forwarded = {"X-Forwarded-For": "192.0.2.7"}
    assert ask(probes(), "GET", "/metrics", far).status_code == 403
    assert ask(probes(), "GET", "/metrics", headers=forwarded).status_code == 403
    assert ask(probes(metrics="open"), "GET", "/metrics", far).status_code == 200


def test_a_websocket_is_closed() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(probes()({"type": "websocket"}, cast("Any", None), send))
    assert sent == [{"type": "websocket.close"}]
