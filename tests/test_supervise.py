"""Several processes behind one port, as real processes on real stores."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from meterhouse import limits, supervise
from tests.cli.samples import meterhouse
from tests.clickhouse import Double
from tests.cluster.samples import event, make_meter, sdk, total
from tests.postgresql import PostgreSQL
from tests.server import TEST_KEY, Server, answering, begin, serving
from tests.stores import new_stores

SECONDS_MAX = 120
EVENTS = 5


@pytest.fixture
def stores(postgresql_server: PostgreSQL, clickhouse_server: Double) -> dict[str, str]:
    return {
        **new_stores(postgresql_server, clickhouse_server),
        "processes": "2",
    }


def children(server: Server) -> dict[str, psutil.Process]:
    """Return the processes behind the port, by their names."""
    found = psutil.Process(server.process.pid).children()
    return {one.cmdline()[-1]: one for one in found if one.status() != psutil.STATUS_ZOMBIE}


def wait_for_another(server: Server, name: str, before: psutil.Process) -> None:
    """Wait until a process of this name answers that is another one."""
    deadline = time.monotonic() + SECONDS_MAX
    while f"{name} answers again" not in server.log():
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.05)
    assert children(server)[name].pid != before.pid


def ready(server: Server) -> int:
    return httpx.get(f"{server.url}/readyz", trust_env=False).status_code


def test_processes_behind_a_port_are_one_server(stores: dict[str, str], tmp_path: Path) -> None:
    """Given two that answer and one that works, when they are killed, then nobody notices."""
    uds = tmp_path / "socket"
    settings = {"api_keys": TEST_KEY, "uds": str(uds), **stores}
    log_file = tmp_path / "log.txt"
    server = answering(begin(tmp_path, settings, log_file), tmp_path, log_file)
    with ended(server):
        before = children(server)
        assert sorted(before) == ["api-1", "api-2", "worker-1"]
        client = sdk(server.url)
        customer, meter = client.v1.customers.create().id, make_meter(client, "calls")
        for number, (name, process) in enumerate(before.items()):
            process.kill()
            for one in range(EVENTS):
                client.v1.billing.meter_events.create(event("calls", customer, f"{number}-{one}"))
            wait_for_another(server, name, process)
        assert total(client, meter, customer, 3 * EVENTS) == 3 * EVENTS
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(uds))) as by_socket:
            assert by_socket.get("http://meterhouse/healthz").status_code == 200
        told = meterhouse("verify", "--data-dir", tmp_path)
        assert (told.exit_code, told.stdout.rpartition("\n")[0][-18:]) == (0, "The books balance.")
    assert not uds.exists()
    assert not (tmp_path / "server.json").exists()


def test_a_start_tells_once_and_the_end_of_the_supervisor_ends_all(
    stores: dict[str, str], tmp_path: Path
) -> None:
    log_file = tmp_path / "log.txt"
    process = begin(tmp_path, stores, log_file)
    assert process.stdout is not None
    said = ""
    while "--api-base" not in said:
        said += process.stdout.readline()
    assert said.count("Listening on") == 1
    assert len(set(re.findall(r"sk_test_\w+", said))) == 1
    own = re.findall(r"(api-\d|worker-\d) (http://127\.0\.0\.1:\d+)", said)
    assert [name for name, _ in own] == ["api-1", "api-2", "worker-1"]
    for _, url in own:
        assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
        assert "meterhouse_" in httpx.get(f"{url}/metrics", trust_env=False).text
    alive = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, left = psutil.wait_procs(alive, SECONDS_MAX)
    assert left == []
    with serving(tmp_path, **stores) as again:
        assert ready(again) == 200
        done = meterhouse("serve", "--port", "0", "--data-dir", tmp_path, *_options(stores))
    assert done.exit_code == 1
    assert "is in use by another Meterhouse" in done.stderr


def test_what_keeps_them_from_answering_is_told_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    done = meterhouse(
        "serve",
        *("--port", "0", "--data-dir", tmp_path, "--processes", "3"),
        *("--database-url", f"postgresql://127.0.0.1:{port}/meterhouse"),
        *("--clickhouse-url", f"clickhouse://127.0.0.1:{port}/default"),
    )
    assert done.exit_code == 1
    assert done.stderr.count("The ledger at") == 1
    assert not (tmp_path / "server.json").exists()


def test_one_process_starts_again_the_later_the_more_often_it_ends() -> None:
    waits = [supervise.restart_seconds(failures) for failures in range(9)]
    assert waits == [0, 0.5, 1, 2, 4, 8, 16, limits.CHILD_RESTART_SECONDS_MAX, 30]
    assert [supervise.workers_beside(number) for number in (1, 2, 3, 4, 8)] == [1, 1, 1, 2, 4]


@contextmanager
def ended(server: Server) -> Iterator[None]:
    """End it in order after the block, and make sure that nothing is left of it."""
    try:
        yield
        alive = psutil.Process(server.process.pid).children(recursive=True)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS_MAX) == 0, server.log()
        _, left = psutil.wait_procs(alive, SECONDS_MAX)
        assert left == []
    finally:
        server.process.kill()
        server.process.communicate()


def _options(stores: dict[str, str]) -> list[str]:
    return [f"--{name.replace('_', '-')}={text}" for name, text in stores.items()]
