"""What a server under load must survive without being killed: a full disk, a ledger that waits.

Whatever senders are told meanwhile, in the end every acknowledged event counts exactly once.
"""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.books import Books
from tests.crash.client import Client
from tests.crash.run import Run
from tests.crash.server import Server

SEED = 1
DISK_BYTES = 64 * 1_048_576
LOAD_SECONDS = 0.7
FULL_SECONDS = 1.5
FILLINGS = 8
FILLED_SECONDS = 0.2
LOCKED_SECONDS = 2
ENGINE_KILLS = 4
HEALED_SECONDS_MAX = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk that is small enough to be filled."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["/bin/mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a disk that can be filled takes the right to mount one: {error}")
    yield place
    subprocess.run(["/bin/umount", "--lazy", str(place)], check=True)


def test_a_full_disk_loses_nothing_and_heals_when_there_is_room(tmp_path: Path, disk: Path) -> None:
    """Given a full disk, then senders hear 503 and the server is not ready, and says why.

    When there is room, then everything goes on, and the server finds out without an event.
    """
    ballast = disk / "ballast"

    async def fill(server: Server) -> None:
        for _ in range(FILLINGS):  # now and then in the middle of a write
            await asyncio.sleep(LOAD_SECONDS / 2)
            _fill(ballast)
            await asyncio.sleep(FILLED_SECONDS)
            ballast.unlink()
        await asyncio.sleep(LOAD_SECONDS)
        _fill(ballast)
        await asyncio.sleep(FULL_SECONDS)
        _fill(ballast)  # a store may have found room in the meantime
        await _hears_503(Client(server.socket))
        client = Client(server.socket)
        ready = await client.get("/readyz")
        client.close()
        assert ready.status == 503
        assert "disk is full" in ready.document["reason"]
        ballast.unlink()
        await _hears_200(Client(server.socket), "/readyz")
        await asyncio.sleep(LOAD_SECONDS)

    async def body() -> Books:
        async with Server(tmp_path, disk / "data") as server:
            run = Run(server, SEED)
            books = await run.set_up()
            await run.load(books, fill(server))
            await run.check(books)
            assert "database or disk is full" in server.log()
            return books

    assert asyncio.run(body()).outcomes["accepted"] > 0


def test_a_ledger_that_another_process_holds_makes_senders_wait(tmp_path: Path) -> None:
    """Given a lock on the ledger for some seconds, then nobody hears an error."""

    async def hold(server: Server) -> None:
        await asyncio.sleep(LOAD_SECONDS)
        other = sqlite3.connect(server.data / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(LOCKED_SECONDS)
        other.execute("ROLLBACK")
        other.close()
        await asyncio.sleep(LOAD_SECONDS)

    async def body() -> Books:
        async with Server(tmp_path) as server:
            run = Run(server, SEED)
            books = await run.set_up()
            await run.load(books, hold(server))
            await run.check(books)
        assert "ERROR" not in server.log()
        return books

    assert asyncio.run(body()).outcomes["accepted"] > 0


def test_a_server_heals_when_the_process_of_its_usage_store_is_killed(tmp_path: Path) -> None:
    """Given kills of that process alone, then the server goes on, and nothing is lost."""

    async def kill(server: Server) -> None:
        for number in range(ENGINE_KILLS):
            await asyncio.sleep(LOAD_SECONDS * number / ENGINE_KILLS)
            await server.kill_engine()
            await _hears_200(Client(server.socket))
        await asyncio.sleep(LOAD_SECONDS)

    async def body() -> Books:
        async with Server(tmp_path) as server:
            run = Run(server, SEED)
            books = await run.set_up()
            await run.load(books, kill(server))
            await run.check(books)
            return books

    assert asyncio.run(body()).outcomes["accepted"] > 0


def _fill(ballast: Path) -> None:
    """Write until no byte fits any more."""
    handle = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (1_048_576, 4_096, 1):
        try:
            while os.write(handle, b"x" * size):
                pass
        except OSError:
            continue
    os.close(handle)


async def _hears_200(client: Client, path: str = "/meterhouse/v1/request_logs") -> None:
    """Ask until there is an answer; what is asked for first the usage store answers."""
    async with asyncio.timeout(HEALED_SECONDS_MAX):
        while True:
            reply = await client.get(path)
            if reply.status == 200:
                break
    client.close()


async def _hears_503(client: Client) -> None:
    """Try until a request fails for want of room, and look at how; it would be refused anyway."""
    form = {"event_name": "nobody", "payload[value]": "1"}
    async with asyncio.timeout(HEALED_SECONDS_MAX):
        while (reply := await client.post("/v1/billing/meter_events", form)).status != 503:
            pass
    client.close()
    assert reply.headers["stripe-should-retry"] == "true"
    assert reply.document["error"]["type"] == "api_error"
