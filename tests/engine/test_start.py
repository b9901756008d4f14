"""How the engine process begins and ends; its work is tested in `test_apart`."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from meterhouse.engine.client import EngineClient
from meterhouse.engine.start import EngineProcess
from meterhouse.errors import StoreError
from tests.engine.test_client import free, gone, order, wait_until


def test_a_process_that_nobody_waits_for_ends_with_the_block(tmp_path: Path, lock: IO[str]) -> None:
    """Given a start that fails meanwhile, then the process does not even finish its imports."""
    with EngineProcess(order(tmp_path), lock) as process:
        assert not gone(process.popen.pid)
    assert process.popen.returncode == 0
    assert not (tmp_path / "usage").exists()
    process.end()


def test_a_process_that_dies_at_its_start_is_told(tmp_path: Path, lock: IO[str]) -> None:
    process = EngineProcess(order(tmp_path), lock)
    process.popen.kill()
    with pytest.raises(StoreError, match="ended at its start"):
        EngineClient(process)
    assert process.popen.returncode == -signal.SIGKILL


PARENT = """
import os, signal, sys
from pathlib import Path
import meterhouse.cli.serve
from meterhouse.folder import lock_folder
from meterhouse.engine.start import EngineConfig, EngineProcess
folder = Path(sys.argv[1])
url = f"sqlite:///{folder}/ledger.db"
config = EngineConfig(url, "", "refuse", "all", 35, "text", "info")
process = EngineProcess(config, lock_folder(folder))
print(process.popen.pid, [name for name in ("sqlalchemy", "pyarrow") if name in sys.modules])
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_begins_before_the_imports_of_a_server_and_ends_with_it(tmp_path: Path) -> None:
    """Given a server that is killed before it has imported anything, then nothing of it is left."""
    done = subprocess.run(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -signal.SIGKILL
    pid, _, imported = done.stdout.strip().partition(" ")
    assert imported == "[]"
    wait_until(lambda: gone(int(pid)))
    wait_until(lambda: free(tmp_path / "lock"))
