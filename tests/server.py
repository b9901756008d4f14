"""The real program, started for a test and stopped in order.

`serving` runs `meterhouse serve` on a free port and gives a `Server` that answers already. At the
end it is stopped with SIGTERM and must have exited with 0 and logged no error.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests import preloaded

TEST_KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
LIVE_KEY = "sk_live_9aB81KpXwQzNerjtT1zdp7dc"

_STOP_SECONDS_MAX = 60
_LISTENS = re.compile(r"Listening on\s+(http://\S+)")
_ERROR_LINE = re.compile(
    r"^\S+Z (?:ERROR|CRITICAL) .*|.*\"level\": ?\"(?:error|critical)\".*", re.MULTILINE
)


@dataclass(frozen=True)
class Server:
    """A server that runs: where it listens, where its data and its log are."""

    url: str
    data_dir: Path
    log_file: Path
    process: "subprocess.Popen[str]"

    def log(self) -> str:
        """Return what the server has logged so far."""
        return self.log_file.read_text()

    def errors(self) -> list[str]:
        """Return the log's lines about errors."""
        return _ERROR_LINE.findall(self.log())

    def resident_bytes(self) -> int:
        """Return how much memory the process holds."""
        resident: int = psutil.Process(self.process.pid).memory_info().rss
        return resident


@contextmanager
def serving(data_dir: Path, **settings: str) -> Iterator[Server]:
    """Start a server with `settings`, such as `values="whole"`; stop it when the block ends.

    Its keys are `TEST_KEY` and `LIVE_KEY` unless `settings` say otherwise. An error in its log
    fails the test.
    """
    server = start(data_dir, {"api_keys": f"{TEST_KEY},{LIVE_KEY}", **settings})
    try:
        yield server
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(_STOP_SECONDS_MAX)
    finally:
        server.process.kill()
        server.process.communicate()
    assert code == 0, server.log()
    assert not server.errors(), server.log()


@contextmanager
def serving_roles(
    folder: Path, settings: dict[str, str], roles: Sequence[str]
) -> Iterator[list[Server]]:
    """Start a process of each role, all at once, on the same stores; kill them at the end."""

    def begin_one(number: int) -> Server:
        return start(folder / str(number), settings | {"role": roles[number]})

    with ExitStack() as started, ThreadPoolExecutor(len(roles)) as pool:
        every = []
        for one in pool.map(begin_one, range(len(roles))):
            started.callback(one.process.communicate)
            started.callback(one.process.kill)
            every.append(one)
        yield every


def as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings as variables of the environment."""
    return {f"METERHOUSE_{name.upper()}": text for name, text in settings.items()}


def start(data_dir: Path, settings: dict[str, str], port: int = 0) -> Server:
    """Start a server, on a free port unless `port` names one; return once it answers."""
    log_file = data_dir / "log.txt"
    return answering(begin(data_dir, settings, log_file, port), data_dir, log_file)


def begin(
    data_dir: Path, settings: dict[str, str], log_file: Path, port: int = 0
) -> "subprocess.Popen[str]":
    """Begin to start a server, and return its process."""
    data_dir.mkdir(parents=True, exist_ok=True)
    environment = {name: text for name, text in os.environ.items() if "METERHOUSE" not in name}
    environment |= as_variables(settings)
    arguments = ["serve", f"--port={port}", "--data-dir", str(data_dir)]
    with log_file.open("w") as log:
        if "LD_PRELOAD" not in environment:
            return preloaded.begin("meterhouse.cli.main:app", arguments, environment, log)
        return subprocess.Popen(
            [sys.executable, "-m", "meterhouse", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )


def answering(process: "subprocess.Popen[str]", data_dir: Path, log_file: Path) -> Server:
    """Wait until a server answers."""
    assert process.stdout is not None
    for line in process.stdout:  # it is told once the server answers
        listens = _LISTENS.search(line)
        if listens:
            return Server(listens[1], data_dir, log_file, process)
    process.wait()
    raise AssertionError(f"the server did not start: {log_file.read_text()}")
