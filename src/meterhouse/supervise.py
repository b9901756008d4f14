"""Several processes of one server behind one port, and who keeps them running.

What a reader may rely on:

- The sockets are opened once and inherited. Whoever connects while a process dies waits for
  another one; only requests that it had taken are lost.
- A process that ends is started again, after a delay that grows while it goes on ending. The first
  start is another matter: what keeps one of them from answering then ends all.
- A process ends when its standard input does: it never outlives the supervisor, however that ends.
- SIGTERM and SIGINT end all in order: first those that answer, then those that process what these
  have acknowledged. A second signal ends them at once; what was acknowledged is on disk.
- Each has a folder of its own below the data folder, and a port of its own on 127.0.0.1, where it
  tells its health and its metrics. To the command line they are one server with one operator.
"""

import asyncio
import gc
import json
import logging
import os
import pickle
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from threading import Thread
from typing import NamedTuple, cast

from meterhouse import limits, logs
from meterhouse.clock import SystemClock
from meterhouse.config import Config, Role
from meterhouse.errors import ConfigError, MeterhouseError, StoreError
from meterhouse.folder import SERVER_FILE, be_private, lock_folder, write_server_file
from meterhouse.listen import Listening, acquire, listen, listen_everywhere
from meterhouse.masking import OPERATOR_TOKEN
from meterhouse.wire.ids import new_token

log = logging.getLogger("meterhouse.supervise")

_OWN_ADDRESS = "127.0.0.1"
_FOLDER = "processes"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Order(NamedTuple):
    """What a process is told at its start: its settings, and the sockets that it inherits.

    The first socket is its own.
    """

    config: Config
    sockets: tuple[int, ...]


class Answer(NamedTuple):
    """What a process tells once: that it answers, or why it cannot.

    `first_key` is the key that the first start of all made.
    """

    error: str = ""
    wrong_setting: bool = False
    first_key: str | None = None


class Child:
    """One process, from its first start to its last end."""

    def __init__(self, name: str, order: Order) -> None:
        self.name = name
        self._order = order
        self._process: Process | None = None

    async def start(self) -> str | None:
        """Start it, and wait until it answers; return the key that it made, if it did.

        Raises `ConfigError` or `StoreError` that tells why it cannot answer.
        """
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", __name__, self.name),  # the name is for who looks at a list of processes
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=self._order.sockets,
            process_group=0,  # a terminal's Ctrl-C is for the supervisor alone
        )
        lifeline = cast("asyncio.StreamWriter", process.stdin)
        output = cast("asyncio.StreamReader", process.stdout)
        with suppress(ConnectionError):  # it has died already
            lifeline.write(pickle.dumps(self._order))
            await lifeline.drain()
        line = await output.readline()
        if not line:
            raise StoreError(f"{self.name} ended with {_how(await process.wait())}.")
        answer = Answer(*json.loads(line))
        if answer.error:
            await process.wait()
            raise (ConfigError if answer.wrong_setting else StoreError)(answer.error)
        return answer.first_key

    async def keep(self) -> None:
        """Start it again whenever it ends, until this is cancelled."""
        failures = 0
        while self._process is not None:
            since = time.monotonic()
            status = await self._process.wait()
            lived = time.monotonic() - since
            failures = 0 if lived >= limits.CHILD_STEADY_SECONDS else failures + 1
            delay = restart_seconds(failures)
            log.error("%s ended with %s, and starts again in %g s", self.name, _how(status), delay)
            await asyncio.sleep(delay)
            try:
                await self.start()
            except MeterhouseError as error:
                log.error("%s does not start: %s", self.name, error)  # noqa: TRY400 - it is told
            else:
                log.info("%s answers again", self.name)

    async def stop(self) -> None:
        """Let it end in order, and kill it where that takes too long."""
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(limits.CHILD_STOP_SECONDS_MAX):
                await self._process.wait()
        except TimeoutError:
            log.warning("%s does not end, and is killed", self.name)
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class Children(NamedTuple):
    """All processes, by what they do."""

    api: list[Child]
    workers: list[Child]

    async def start(self) -> str | None:
        """Start all; return the key of a first start.

        One goes ahead: it makes tables and keys, and tells alone what is wrong with the settings.
        """
        ahead, *others = (*self.api, *self.workers)
        first_key = await ahead.start()
        await _all(other.start() for other in others)
        return first_key

    async def keep(self) -> None:
        """Keep all of them running, until this is cancelled."""
        await _all(child.keep() for child in (*self.api, *self.workers))

    async def stop(self) -> None:
        """End those that acknowledge, then those that process what was acknowledged."""
        await _all(child.stop() for child in self.api)
        await _all(child.stop() for child in self.workers)


def workers_beside(processes: int) -> int:
    """Return how many workers there are to so many processes that answer.

    An event costs a worker about half of what it costs who acknowledges it (docs/performance.md).
    """
    return max(1, processes // 2)


def restart_seconds(failures: int) -> float:
    """Return how long to wait before a start, after so many short lives on end."""
    if failures == 0:
        return 0
    delay: float = limits.CHILD_RESTART_MILLISECONDS / 1_000 * 2.0 ** (failures - 1)
    return min(delay, limits.CHILD_RESTART_SECONDS_MAX)


def supervise(config: Config, announce: Callable[[Listening], None]) -> None:
    """Run `config.processes` processes until a signal; `announce` is called once all answer.

    Raises `ConfigError` or `StoreError` that tells why one of them cannot answer.
    """
    logs.configure(config.log_format, config.log_level)
    with ExitStack() as resources:
        sockets, urls = listen_everywhere(config, resources)
        resources.enter_context(lock_folder(config.data_dir))
        token = config.operator_token or new_token(OPERATOR_TOKEN)
        children, nodes = _prepare(replace(config, operator_token=token), sockets, resources)
        url, *others = urls
        listening = Listening(
            url,
            config.uds,
            config.data_dir,
            None,
            f"{url}{config.base_path}/dashboard",
            tuple(others),
            open=not config.loopback and not config.trusted_proxies.elsewhere,
            nodes=nodes,
        )

        def answering(first_key: str | None) -> None:
            write_server_file(config.data_dir, listening.nearest, token)
            resources.callback((config.data_dir / SERVER_FILE).unlink, missing_ok=True)
            announce(listening._replace(first_key=first_key))

        asyncio.run(_supervise(children, answering))


def _prepare(
    config: Config, sockets: list[socket.socket], resources: ExitStack
) -> tuple[Children, tuple[str, ...]]:
    """Return the processes, which have not begun, and tell of each where it is reached."""
    kinds: list[tuple[Role, int]] = [
        ("api", config.processes),
        ("worker", workers_beside(config.processes)),
    ]
    children: dict[str, list[Child]] = {role: [] for role, _ in kinds}
    nodes: list[str] = []
    for role, count in kinds:
        for number in range(1, count + 1):
            name = f"{role}-{number}"
            port = config.port + len(nodes) + 1 if config.port else 0
            own = resources.enter_context(listen(_OWN_ADDRESS, port))
            port = own.getsockname()[1]
            settings = replace(
                config,
                port=port,
                uds=None,
                data_dir=config.data_dir / _FOLDER / name,
                role=role,
                processes=1,
            )
            inherited = [own, *(sockets if role == "api" else ())]
            order = Order(settings, tuple(one.fileno() for one in inherited))
            children[role].append(Child(name, order))
            nodes.append(f"{name} http://{_OWN_ADDRESS}:{port}")
    return Children(children["api"], children["worker"]), tuple(nodes)


async def _supervise(children: Children, answering: Callable[[str | None], None]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        for number in _SIGNALS:  # the next one ends us, and that ends them
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)

    async def run() -> None:
        answering(await children.start())
        await children.keep()

    try:
        await _until(stopping, run())
    finally:
        await children.stop()


async def _until(stopping: asyncio.Event, work: Awaitable[None]) -> None:
    """Work until told to stop; what the work raises is raised here."""
    working = asyncio.ensure_future(work)
    told = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((working, told), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, told):
            task.cancel()
        await asyncio.gather(working, told, return_exceptions=True)


async def _all(work: Iterable[Awaitable[object]]) -> None:
    """Do all at once; the first failure is raised when the others have come to their end."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"


def main() -> None:
    """Be one of the processes."""
    be_private()
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301 - the supervisor alone writes there
    Thread(target=_follow_the_supervisor, daemon=True).start()
    sockets = [socket.socket(fileno=descriptor) for descriptor in order.sockets]
    config, clock = order.config, SystemClock()
    note = logs.configure(config.log_format, config.log_level)
    gc.disable()  # what is imported stays
    try:
        with acquire(config, clock, sockets) as resources:
            from meterhouse.server import run  # noqa: PLC0415 - the engine process begins first

            gc.freeze()
            gc.enable()
            run(
                config, resources, clock, note, lambda told: _tell(Answer(first_key=told.first_key))
            )
    except MeterhouseError as error:
        _tell(Answer(str(error), isinstance(error, ConfigError)))
        sys.exit(1)


def _tell(answer: Answer) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _follow_the_supervisor() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is sent any more, so this is the end
    os._exit(1)


if __name__ == "__main__":
    main()
