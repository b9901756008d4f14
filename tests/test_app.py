import asyncio
import fcntl
from pathlib import Path
from threading import Timer

import pytest

from meterhouse import limits
from meterhouse.app import Meterhouse, _lock
from meterhouse.clock import ManualClock
from meterhouse.config import Config
from meterhouse.errors import StoreError
from meterhouse.logs import note_nothing
from meterhouse.usage.store import UsageStore
from tests.api.house import NOW, housing


def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    """Given a usage store that cannot be opened, when it can be again, then the folder is free."""
    usage = tmp_path / "usage"
    usage.write_text("no folder")
    config = Config.read({"data_dir": str(tmp_path)}, {})
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            Meterhouse(config, ManualClock(0), note_nothing)
        assert "in use" not in str(caught.value)
    usage.unlink()
    with housing(tmp_path) as house:
        assert house.request("GET", "/readyz").status_code == 200


def test_a_server_whose_workshop_is_apart_starts_and_stops(tmp_path: Path) -> None:
    """Given a data folder, then one server at a time has it, whichever process has its stores."""
    config = Config.read({"data_dir": str(tmp_path)}, {})

    async def serve() -> None:
        server = Meterhouse(config, ManualClock(NOW * 1000), note_nothing, apart=True)
        await server.start()
        assert await server.house.stores.usage(UsageStore.counts) == {}
        with pytest.raises(StoreError, match="in use by another Meterhouse"):
            Meterhouse(config, ManualClock(NOW * 1000), note_nothing)
        await server.stop()

    for _ in range(2):
        asyncio.run(serve())


def test_a_workshop_that_cannot_open_leaves_nothing_open(tmp_path: Path) -> None:
    usage = tmp_path / "usage"
    usage.write_text("no folder")
    config = Config.read({"data_dir": str(tmp_path)}, {})
    for _ in range(2):
        with pytest.raises(StoreError, match="The usage store at "):
            Meterhouse(config, ManualClock(NOW * 1000), note_nothing, apart=True)


def test_a_start_waits_for_what_is_left_of_a_killed_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes end one after the other, so the lock may be held a little longer."""
    tmp_path.mkdir(exist_ok=True)
    with (tmp_path / "lock").open("a") as left:
        fcntl.flock(left, fcntl.LOCK_EX)
        Timer(0.1, left.close).start()
        with _lock(tmp_path):
            assert left.closed
    monkeypatch.setattr(limits, "DATA_DIR_LOCK_SECONDS_MAX", 0.05)
    with _lock(tmp_path), pytest.raises(StoreError, match="Stop that one"):
        _lock(tmp_path)
