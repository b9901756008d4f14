from pathlib import Path

import pytest

from meterhouse.app import Meterhouse
from meterhouse.clock import ManualClock
from meterhouse.config import Config
from meterhouse.errors import StoreError
from meterhouse.logs import note_nothing
from tests.api.house import housing


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
