"""The engine in a process of its own, which may be killed at any time."""

import asyncio
import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import psutil
import pytest

from meterhouse import limits, zones
from meterhouse.engine.client import EngineClient
from meterhouse.engine.service import EngineService
from meterhouse.engine.start import EngineConfig, EngineProcess
from meterhouse.errors import Refusal, StoreError
from meterhouse.ledger.engine import open_ledger
from meterhouse.metering.identifier import identifier_digest
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore
from tests.pipeline import DAYS, Pipeline, stream, submission
from tests.usage.samples import writer

SECONDS_MAX = 60


def order(folder: Path) -> EngineConfig:
    return EngineConfig(
        f"sqlite:///{folder / 'ledger.db'}",
        f"chdb://{folder / 'usage'}",
        "refuse",
        "all",
        DAYS,
        "text",
        "warning",
    )


def process_of(engine: EngineClient) -> "subprocess.Popen[bytes]":
    assert engine._running is not None
    return engine._running.process.popen


def kill(engine: EngineClient) -> None:
    """Kill the process as the system does, and wait until it is gone."""
    process = process_of(engine)
    process.kill()
    wait_until(lambda: process.poll() is not None)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def free(path: Path) -> bool:
    """Tell whether nobody holds a lock on a file."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# What runs in the other process is found by its name there.


def pid_of(_: UsageStore) -> int:
    return os.getpid()


def pause(_: UsageStore, seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def die(_: UsageStore) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_out_of_room(store: UsageStore) -> None:
    """Insert a row of which the engine can write nothing."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    writer(store).command("INSERT INTO identifiers VALUES (1, 2, 3, 4)")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def refuse(_: UsageStore) -> None:
    raise LookupError("something was missing")


@pytest.fixture
def engine(tmp_path: Path, lock: IO[str]) -> Iterator[EngineClient]:
    opened = EngineClient(EngineProcess(order(tmp_path), lock))
    yield opened
    opened.close()


def test_work_is_done_elsewhere(engine: EngineClient) -> None:
    assert engine.usage(pid_of) == process_of(engine).pid != os.getpid()
    assert engine.usage(UsageStore.counts) == {}
    assert engine.judge([0]) is None


def test_a_process_that_has_read_other_rules_of_zones_is_told(
    tmp_path: Path,
    lock: IO[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given rules that were installed since the server began."""
    newer = tmp_path / "zones"
    newer.mkdir()
    (newer / "tzdata.zi").write_text("# version 2099a")
    assert zones.rules().version < "2099a"
    monkeypatch.setenv("PYTHONTZPATH", str(newer))
    EngineClient(EngineProcess(order(tmp_path), lock)).close()
    [warning] = caplog.messages
    assert "began with rules 2099a of time zones, and the server with 20" in warning


def test_errors_come_back_as_they_are(engine: EngineClient) -> None:
    with pytest.raises(StoreError, match="took no block"):
        engine.usage(UsageStore.insert, "events", b"no Arrow stream", "token")
    with pytest.raises(StoreError, match="judged anew"):
        engine.conclude({})
    with pytest.raises(LookupError, match="something was missing"):
        engine.usage(refuse)
    assert engine.usage(pid_of) == process_of(engine).pid


def test_a_store_that_cannot_be_opened_is_told(tmp_path: Path, lock: IO[str]) -> None:
    (tmp_path / "usage").write_text("no folder")
    children = len(psutil.Process().children())
    with pytest.raises(StoreError, match=f"usage store at {tmp_path / 'usage'} cannot open"):
        EngineClient(EngineProcess(order(tmp_path), lock))
    assert len(psutil.Process().children()) == children


def test_a_process_that_dies_is_replaced(engine: EngineClient) -> None:
    first = process_of(engine).pid
    kill(engine)
    assert engine.usage(pid_of) not in (first, os.getpid())
    with pytest.raises(StoreError, match="has ended; the next call starts another"):
        engine.usage(die)
    assert engine.usage(UsageStore.counts) == {}


def test_a_process_whose_engine_did_not_write_all_is_replaced(engine: EngineClient) -> None:
    first = process_of(engine)
    engine.usage(run_out_of_room)
    with pytest.raises(StoreError, match=r"did not write all that it took|has ended"):
        engine.usage(UsageStore.confirm)
    wait_until(lambda: first.poll() is not None)
    engine.usage(UsageStore.confirm)
    assert engine.usage(UsageStore.claim_days, 0) == []


def test_a_batch_that_a_dead_process_had_begun_is_judged_anew(
    tmp_path: Path, engine: EngineClient
) -> None:
    with open_ledger(order(tmp_path).database_url) as ledger:
        stores = Stores(ledger, engine.usage)
        pipeline = Pipeline(stores, cast("EngineService", engine))
        asyncio.run(stream(pipeline, submission("a").event))
        digests = [identifier_digest(pipeline.scope.id, "a")]
        assert engine.judge([0]) == digests
        kill(engine)
        with pytest.raises(StoreError, match="judged anew"):
            engine.conclude({})
        assert engine.judge([0]) == digests
        assert engine.conclude({}).last == 1
        stores.close()


def test_many_callers_start_one_process(engine: EngineClient) -> None:
    """Given a process that dies under all of them, then each hears it, and one takes its place."""

    def call(_: int) -> int | None:
        try:
            return engine.usage(pause, 0.05)
        except StoreError:
            return None

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call, number) for number in range(40)]
        calls[4].result()
        kill(engine)
        heard = [one.result() for one in calls]
    assert len(set(heard) - {None}) == 2
    assert heard[-1] == process_of(engine).pid


def test_signals_that_stop_a_server_leave_its_stopping_to_it(engine: EngineClient) -> None:
    process = process_of(engine)
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    assert engine.usage(pid_of) == process.pid


def test_closing_ends_the_process(engine: EngineClient) -> None:
    process = process_of(engine)
    engine.close()
    assert process.returncode == 0
    for call in (lambda: engine.usage(pid_of), lambda: engine.judge([0])):
        with pytest.raises(StoreError, match="is closed"):
            call()
    engine.close()


def test_closing_what_is_dead_already(engine: EngineClient) -> None:
    kill(engine)
    engine.close()


def test_the_process_keeps_the_lock_of_the_folder(tmp_path: Path, lock: IO[str]) -> None:
    """So nobody opens the folder while the process of a server that was killed is still there."""
    engine = EngineClient(EngineProcess(order(tmp_path), lock))
    lock.close()
    assert not free(tmp_path / "lock")
    engine.close()
    assert free(tmp_path / "lock")


PARENT = """
import fcntl, sys, time
from pathlib import Path
from tests.engine.test_client import EngineClient, EngineProcess, order, pause, process_of
folder = Path(sys.argv[1])
lock = (folder / "lock").open("a")
fcntl.flock(lock, fcntl.LOCK_EX)
engine = EngineClient(EngineProcess(order(folder), lock))
print(process_of(engine).pid, flush=True)
engine.usage(pause, 600)
"""


def test_the_process_ends_with_its_server_even_on_kill_9(tmp_path: Path) -> None:
    """Given a call that takes long, when the server is killed, then nothing of it is left."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.kill()
    wait_until(lambda: gone(child))
    wait_until(lambda: free(tmp_path / "lock"))


def test_nothing_is_lost_or_counted_twice_when_the_process_is_killed(
    tmp_path: Path, engine: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given kills under load, then every event that was acknowledged counts once."""
    monkeypatch.setattr(limits, "PROCESS_RETRY_SECONDS_MAX", 0.05)
    kills = 4

    async def body(pipeline: Pipeline) -> dict[str, Any]:
        done = False

        async def send(sender: int) -> int:
            number = 0
            while not done:
                number += 1
                streamed = [submission(f"{sender} {number}").event] * 2
                await stream(pipeline, *streamed)
                single = submission(f"{sender} {number} alone")
                assert await pipeline.acceptor.accept(single) is None
                with suppress(StoreError):  # nobody can tell now whether the identifier is taken
                    assert isinstance(await pipeline.acceptor.accept(single), Refusal)
            return number

        senders = [asyncio.create_task(send(sender)) for sender in range(4)]
        for number in range(kills):
            await asyncio.sleep(0.05 + number * 0.07)
            await asyncio.to_thread(kill, engine)
            await asyncio.to_thread(engine.usage, pid_of)
        done = True
        sent = sum(await asyncio.gather(*senders))
        assert await pipeline.processor.settle(SECONDS_MAX)
        state = await pipeline.verify()
        [line] = state["lines"]
        assert (line["accepted"], line["duplicate"]) == (2 * sent, sent)
        return state

    with open_ledger(order(tmp_path).database_url) as ledger:
        stores = Stores(ledger, engine.usage)
        pipeline = Pipeline(stores, cast("EngineService", engine))
        state = pipeline.run(lambda: body(pipeline))
        stores.close()
    assert (state["status"], state["problems"]) == ("balanced", [])
