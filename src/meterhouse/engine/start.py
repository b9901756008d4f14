"""How the engine process begins and ends; `engine.serve` is what it does meanwhile.

What a reader may rely on:

- Next to nothing is imported here, so a server begins the process first of all, and both do their
  imports side by side. By the time that the server has done its own, the stores are open.
- It opens the ledger only once it is told to `proceed`: by then the server has become the ledger's
  owner and brought its tables up to date.
- The process ends when its standard input does: it never outlives the server, not even one that
  was killed. Until then it keeps the lock of the data folder that it inherited.
- Signals do not end it: the server decides when it is over.
"""

import gc
import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Event, Thread, Timer
from typing import IO, NamedTuple, Self, cast

from meterhouse import limits
from meterhouse.config import Config, LogFormat, MismatchedStores, Role


class EngineConfig(NamedTuple):
    """What the engine process needs: where its stores are, its settings, and how it logs."""

    database_url: str
    clickhouse_url: str
    mismatched_stores: MismatchedStores
    role: Role
    deduplication_days: int
    log_format: LogFormat
    log_level: str

    @classmethod
    def of(cls, config: Config) -> Self:
        """Take from the settings what it needs."""
        return cls(
            config.database_url,
            config.clickhouse_url,
            config.mismatched_stores,
            config.role,
            config.deduplication_days,
            config.log_format,
            config.log_level,
        )


class EngineProcess:
    """The engine process. As a context manager it ends with the block.

    `address` is where it will listen, and `key` what it wants to be shown there.
    """

    def __init__(self, config: EngineConfig, lock: IO[str]) -> None:
        """Begin the process. It keeps `lock` open as long as it lives."""
        self.config = config
        self.lock = lock
        self.address = f"\0meterhouse-{secrets.token_hex(8)}"
        self.key = secrets.token_bytes(32)
        self.popen = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(lock.fileno(),),
        )
        self._lifeline = cast("IO[bytes]", self.popen.stdin)
        self._output = cast("IO[bytes]", self.popen.stdout)
        self._send(json.dumps([self.address, self.key.hex(), *config]).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def proceed(self) -> None:
        """Let the process open the ledger."""
        self._send(b"")

    def answer(self) -> str:
        """Wait for the line that the process tells when its stores are open or cannot be opened.

        Empty when it ended without a word. May be called once.
        """
        with self._output:
            return self._output.readline().decode()

    def _send(self, line: bytes) -> None:
        with suppress(BrokenPipeError):  # it has died already, which `answer` is the one to tell
            self._lifeline.write(line + b"\n")
            self._lifeline.flush()

    def end(self) -> None:
        """End the process, unless it has ended before."""
        with suppress(OSError):
            self._lifeline.close()
        self._output.close()
        late = Timer(limits.ENGINE_END_SECONDS_MAX, self.popen.kill)
        late.start()
        self.popen.wait()  # with a timeout it would be a loop of naps
        late.cancel()


def main() -> None:
    """Be the engine process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    address, key, *rest = json.loads(sys.stdin.readline())
    may_proceed = Event()
    Thread(target=_follow_the_server, args=(may_proceed,), daemon=True).start()
    gc.disable()  # what is imported stays
    from meterhouse.engine.serve import serve  # noqa: PLC0415 - it would hold up a server

    serve(address, bytes.fromhex(key), EngineConfig(*rest), may_proceed)


def _follow_the_server(may_proceed: Event) -> None:
    """Wait for the line that lets us proceed, and for the end of standard input.

    That comes however the server ends.
    """
    if sys.stdin.readline():
        may_proceed.set()
        sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
