import asyncio
import logging
from pathlib import Path

import pytest

from meterhouse import zones
from meterhouse.clock import ManualClock
from meterhouse.config import Config
from meterhouse.engine.start import EngineConfig, EngineProcess
from meterhouse.errors import StoreError
from meterhouse.folder import lock_folder
from meterhouse.logs import note_nothing
from meterhouse.usage.store import UsageStore
from tests.api.local import NOW, local_server
from tests.whole import Whole


def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    """Given a usage store that cannot be opened, when it can be again, then the folder is free."""
    usage = tmp_path / "usage"
    usage.write_text("no folder")
    config = Config.read({"data_dir": str(tmp_path)}, {})
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            Whole(config, ManualClock(0), note_nothing)
        assert "in use" not in str(caught.value)
    usage.unlink()
    with local_server(tmp_path) as local:
        assert local.request("GET", "/readyz").status_code == 200


def test_a_server_whose_workshop_is_apart_starts_and_stops(tmp_path: Path) -> None:
    """Given a data folder, then one server at a time has it, whichever process has its stores."""
    config = Config.read({"data_dir": str(tmp_path)}, {})

    async def serve() -> None:
        process = EngineProcess(EngineConfig.of(config), lock_folder(tmp_path))
        server = Whole(config, ManualClock(NOW * 1000), note_nothing, process)
        await server.start()
        assert await server.services.stores.usage(UsageStore.counts) == {}
        with pytest.raises(StoreError, match="in use by another Meterhouse"):
            Whole(config, ManualClock(NOW * 1000), note_nothing)
        await server.stop()

    for _ in range(2):
        asyncio.run(serve())


def test_a_workshop_that_cannot_open_leaves_nothing_open(tmp_path: Path) -> None:
    usage = tmp_path / "usage"
    usage.write_text("no folder")
    config = Config.read({"data_dir": str(tmp_path)}, {})
    for _ in range(2):
        process = EngineProcess(EngineConfig.of(config), lock_folder(tmp_path))
        with pytest.raises(StoreError, match="The usage store at "):
            Whole(config, ManualClock(NOW * 1000), note_nothing, process)
        assert process.popen.returncode == 0


def test_a_start_with_other_rules_of_zones_than_the_one_before_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "meterhouse.opening")

    def told(version: str) -> list[tuple[str, str]]:
        caplog.clear()
        with monkeypatch.context() as patch:
            patch.setattr(zones, "rules", lambda: zones.Rules(version, Path("/zones")))
            with local_server(tmp_path):
                pass
        logged = [(one.levelname, one.getMessage()) for one in caplog.records]
        return [(level, message) for level, message in logged if "zones" in message]

    cut = "days of time zones are cut by rules {} (system, /zones)"
    assert told("2025b") == [("INFO", cut.format("2025b"))]
    (_, warning) = told("2026f")
    assert warning[0] == "WARNING"
    assert "are 2026f here (system, /zones), and were 2025b at the start before" in warning[1]
    assert told("2026f") == [("INFO", cut.format("2026f"))]


def test_the_operator_s_token_is_the_one_that_is_set(tmp_path: Path) -> None:
    """Given a token, then every start has it, and so have servers beside this one."""
    token = f"operator_{'t' * 32}"
    with local_server(tmp_path, operator_token=token) as local:
        assert local.request("GET", "/meterhouse/v1/status", key=token).status_code == 200
        other = f"{token}x"
        assert local.request("GET", "/meterhouse/v1/status", key=other).status_code == 401
