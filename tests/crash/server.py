"""The program under test, as a process that can be killed and started again on its folder."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeAlias

import psutil

from tests.preloaded import Forked, begin, readable

Stores: TypeAlias = Mapping[str, str]  # settings that tell where the stores are

EMBEDDED: Stores = {}
KEY = "sk_test_crash"
START_SECONDS_MAX = 60
INSIST_SECONDS_MAX = 120  # of several starts


class Server:
    """One data folder, and the process that serves it on a Unix socket at the moment."""

    def __init__(self, folder: Path, data: Path | None = None, stores: Stores = EMBEDDED) -> None:
        self.data = data or folder / "data"
        self._stores = stores
        self.socket = folder / "socket"
        self._log = folder / "log"
        self._process: Forked | None = None

    @property
    def shares(self) -> bool:
        """Whether its ledger is one that several servers may share."""
        return "METERHOUSE_DATABASE_URL" in self._stores

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.kill()
        if error[0] is not None:
            print(self.log()[-10_000:])  # noqa: T201 - a failure shows it

    async def spawn(self, *trap: str) -> None:
        """Start the program; with a trap (see `tests.crash.trap`) if one is given."""
        with self._log.open("ab") as log:
            self._process = begin(
                "tests.crash.child:main",
                (
                    *(*trap, "serve", "--data-dir", str(self.data), "--uds", str(self.socket)),
                    *("--port", "0", "--log-level", "warning"),
                ),
                _environment(self._stores),
                log,
            )

    async def ready(self) -> None:
        """Wait until the program says that it answers."""
        async with asyncio.timeout(START_SECONDS_MAX):
            said = await self._said()
        assert said, f"the server did not start:\n{self.log()}"

    async def start(self) -> None:
        """Start the program and wait until it answers."""
        await self.spawn()
        await self.ready()

    async def insist(self) -> None:
        """Start the program again and again until it answers, as who supervises it does."""
        async with asyncio.timeout(INSIST_SECONDS_MAX):
            await self.spawn()
            while not await self._said():
                await self.ended()
                await self.spawn()

    async def kill(self) -> None:
        """Kill the program with SIGKILL, wherever it is."""
        if self._process is not None:
            self._process.kill()
            await self.ended()

    async def kill_engine(self) -> None:
        """Kill the process of the usage store alone, and wait until it is gone."""
        [child] = psutil.Process(self._running.pid).children()
        child.kill()
        await asyncio.to_thread(child.wait)

    async def ended(self) -> int:
        """Wait until the program has ended by itself; return how."""
        return await self._running.ended()

    async def stop(self) -> int:
        """Stop the program in order."""
        self._running.terminate()
        return await self.ended()

    async def verify(self) -> tuple[int, str]:
        """Run `meterhouse verify` on the folder; return how it ended and what it said."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "meterhouse", "verify", "--data-dir", str(self.data)),
            env=_environment(self._stores),
            stdout=PIPE,
            stderr=PIPE,
        )
        output, trouble = await process.communicate()
        assert process.returncode is not None
        return process.returncode, (output + trouble).decode()

    def log(self) -> str:
        """Return what the program logged, over all its lives."""
        return self._log.read_text(errors="replace")

    def pause(self) -> None:
        """Stop the program where it is, and its engine process, until `resume`."""
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        """Let it go on."""
        for process in self._processes():
            process.resume()

    async def _said(self) -> str:
        """Return the first line that the program prints; empty if it ended without one."""
        output = self._running.stdout
        assert output is not None
        await readable(output.fileno())
        return output.readline()

    def _processes(self) -> list[psutil.Process]:
        program = psutil.Process(self._running.pid)
        return [program, *program.children()]

    @property
    def addresses(self) -> list[Path]:
        """Where it answers."""
        return [self.socket]

    @property
    def _running(self) -> Forked:
        assert self._process is not None, "the server was never started"
        return self._process


def _environment(stores: Stores) -> dict[str, str]:
    """Return the environment of a user who set nothing but a key and the `stores`."""
    inherited = {name: text for name, text in os.environ.items() if "METERHOUSE" not in name}
    return inherited | {"METERHOUSE_API_KEYS": KEY} | {**stores}
