"""The processes under measurement: started in folders of their own, ended without a trace."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

import psutil
from prometheus_client.parser import text_string_to_metric_families

_START_SECONDS_MAX = 60
_STOP_SECONDS_MAX = 60
_POLL_SECONDS = 0.002
_URL = re.compile(r'(http://[^\s"]+)[\s"]')
KEY = "sk_live_benchmarks"


class Process:
    """A started program; ends with SIGTERM as a context manager."""

    def __init__(
        self,
        arguments: list[str],
        log: Path,
        environment: dict[str, str],
        python: str = sys.executable,
    ) -> None:
        with log.open("ab") as errors:
            self._popen = subprocess.Popen(
                [python, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=os.environ | environment,
            )
        self._log = log
        self._psutil = psutil.Process(self._popen.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL if it does not end in time."""
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._popen.pid

    def pause(self) -> None:
        """Let the process, and nothing that it began, stand still."""
        self._popen.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._popen.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise `RuntimeError` with the last line of its log if the process has ended."""
        if self._popen.poll() is not None:
            lines = self._log.read_text().split("\n")
            last = next((line for line in reversed(lines) if line), "it said nothing")
            raise RuntimeError(f"a server ended: {last}")

    def memory(self) -> int:
        """Return the resident memory of the process and its children, in bytes."""
        return sum(one.memory_info().rss for one in self._family())

    def processor_seconds(self) -> float:
        """Return the processor time of the process and its children so far."""
        return sum(self.processor_seconds_each())

    def processor_seconds_each(self) -> list[float]:
        """Return that of the process and of each of its children, the oldest first."""
        times = [one.cpu_times() for one in self._family()]
        return [float(one.user + one.system) for one in times]

    def _family(self) -> list[psutil.Process]:
        return [self._psutil, *self._psutil.children(recursive=True)]


class Folder:
    """A temporary folder that goes when it is closed."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="meterhouse-benchmark-"))

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Server(Process):
    """A process that writes where it listens to a file; `url` is known once it answers.

    `door` is that file, in a folder where the log is `log`; the first URL in it counts.
    """

    def __init__(
        self,
        arguments: list[str],
        door: Path,
        ready: str,
        environment: dict[str, str],
        python: str = sys.executable,
    ) -> None:
        door.unlink(missing_ok=True)
        door.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        super().__init__(arguments, door.parent / "log", environment, python)
        try:
            self.url = self._find(door, ready)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.perf_counter() - started

    def _find(self, door: Path, ready: str) -> str:
        deadline = time.perf_counter() + _START_SECONDS_MAX
        while time.perf_counter() < deadline:
            self.check()
            try:
                found = _URL.search(door.read_text())
                if found:
                    url = found[1]
                    with urlopen(url + ready, timeout=_START_SECONDS_MAX):  # noqa: S310 - our own
                        return url
            except (OSError, URLError):
                pass
            time.sleep(_POLL_SECONDS)
        raise RuntimeError("a server did not answer in time")

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        with urlopen(self.url + "/metrics", timeout=_START_SECONDS_MAX) as answer:  # noqa: S310
            families = list(text_string_to_metric_families(answer.read().decode()))
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def meterhouse(
    folder: Path,
    program: str = "meterhouse",
    environment: dict[str, str] | None = None,
    python: str = sys.executable,
) -> Server:
    """Start Meterhouse as its users do, its log in a file; return once it is ready.

    `program` is the module that is it, `python` the interpreter that has it.
    """
    settings = {"METERHOUSE_API_KEYS": KEY} | (environment or {})
    # A worker writes no file, for nobody asks it anything; what it says at its start tells.
    door = "log" if settings.get("METERHOUSE_ROLE") == "worker" else "server.json"
    arguments = ["-m", program, "serve", "--data-dir", str(folder), "--port", "0"]
    return Server(arguments, folder / door, "/readyz", settings, python)


def bare(name: str, folder: Path, environment: dict[str, str] | None = None) -> Server:
    """Start one of the endpoints of `benchmarks.bare`, to compare with."""
    door = folder / "server.json"
    return Server(["-m", "benchmarks.bare", name, str(door)], door, "/", environment or {})


async def run(module: str, folder: Path, order: bytes, tell: Callable[[str], None]) -> str:
    """Run a module of the benchmarks on a folder; return the last line that it wrote.

    It reads `order`, and `tell` hears every line. Raises `RuntimeError` when it fails.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(order)
        process.stdin.close()
        line = ""
        async for read in process.stdout:
            line = read.decode().strip()
            tell(line)
        if await process.wait():
            raise RuntimeError(f"{module} failed")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return line


def disk_bytes(folder: Path) -> int:
    """Return what the files under `folder` take on disk, the log of requests aside."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            if name != "log":
                with suppress(FileNotFoundError):  # a merge just removed it
                    total += os.lstat(Path(root, name)).st_blocks * 512
    return total
