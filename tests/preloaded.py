"""Processes of the program that begin as forks of one that has imported it already.

Most of what a start takes is imports, and tests start the program hundreds of times. Such a process
differs from one that a shell has started in that alone: it has its own arguments, environment,
output, and signals, can be killed, and starts processes of its own as ever.

`python -m tests.preloaded` is what they are forks of. It ends when its standard input does.
"""

import asyncio
import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

MODULES = ("meterhouse.cli.serve", "meterhouse.server", "tests.crash.child")
_MESSAGE_BYTES_MAX = 1_048_576
_NUMBER_BYTES = 16


class _Asked(NamedTuple):
    program: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    mask: int


class Forked(subprocess.Popen[str]):
    """A process that was forked for a test, and is used as one that was started."""

    def __init__(self, arguments: Sequence[str], pid: int, output: IO[str], end: int) -> None:
        self.args = arguments
        self.pid = pid
        self.stdin = self.stderr = None
        self.stdout = output
        self.returncode: int | None = None
        self._end = end  # tells how it has ended, once
        self._communication_started = False
        self._input = None

    def _internal_poll(self, *_: object) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], 0)[0]:
            self.returncode = _number(self._end)
            os.close(self._end)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None and not select.select([self._end], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        code = self._internal_poll()
        assert code is not None
        return code

    async def ended(self) -> int:
        """Wait until it has ended, and let go of its output; return how it has."""
        if self.returncode is None:
            await readable(self._end)
        if self.stdout is not None:
            self.stdout.close()
        return self.wait()


async def readable(descriptor: int) -> None:
    """Wait until there is something to read, or nothing more will be."""
    loop, ready, own = asyncio.get_running_loop(), asyncio.Event(), os.dup(descriptor)
    loop.add_reader(own, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(own)
        os.close(own)


def begin(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], log: IO[Any]
) -> Forked:
    """Begin a process that calls a `module:function`; its log is the standard error stream."""
    output, told = os.pipe()
    end, tells = os.pipe()
    os.umask(mask := os.umask(0))
    asked = _Asked(program, list(arguments), dict(environment), str(Path.cwd()), mask)
    socket.send_fds(_first(), [json.dumps(asked).encode()], [told, log.fileno(), tells])
    for descriptor in (told, tells):
        os.close(descriptor)
    return Forked(arguments, _number(end), os.fdopen(output), end)


def _number(descriptor: int) -> int:
    told = os.read(descriptor, _NUMBER_BYTES)
    assert told, "what has imported the program is gone"
    return int(told)


@cache
def _first() -> socket.socket:
    """Start the process that has imported the program, once; return what it is told by."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE_BYTES_MAX)
    with theirs:
        started = subprocess.Popen([sys.executable, "-m", __name__], stdin=theirs.fileno())

    def finish() -> None:
        ours.close()
        started.wait()

    atexit.register(finish)
    return ours


def main() -> None:
    """Import the program, and fork a process for each message."""
    for module in MODULES:
        import_module(module)
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as asked:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the processes of the program
        signal.signal(signal.SIGCHLD, _wait_for_those_who_told)
        while True:
            message, descriptors, *_ = socket.recv_fds(asked, _MESSAGE_BYTES_MAX, 3)
            if not message:
                return
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                asked.close()
                _tell_the_end(message, *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)


def _wait_for_those_who_told(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _tell_the_end(message: bytes, output: int, log: int, tells: int) -> NoReturn:
    """Fork the process that is asked for; tell which it is, and how it ends."""
    pid = os.fork()
    if pid == 0:
        os.close(tells)
        _become(message, output, log)
    os.close(output)
    os.close(log)
    os.write(tells, f"{pid}".ljust(_NUMBER_BYTES).encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(tells, f"{code}".ljust(_NUMBER_BYTES).encode())
    os._exit(0)


def _become(message: bytes, output: int, log: int) -> NoReturn:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = _Asked(*json.loads(message))
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((nothing, 0), (output, 1), (log, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked.environment)
    os.chdir(asked.folder)
    os.umask(asked.mask)
    sys.argv = [asked.program, *asked.arguments]
    module, _, function = asked.program.partition(":")
    sys.exit(getattr(import_module(module), function)())


if __name__ == "__main__":
    main()
