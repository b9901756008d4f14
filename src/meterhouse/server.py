"""The server: answers until it is told to stop, and ends in order.

What a reader may rely on:

- It ends at once when another Meterhouse has taken its ledger over.
- SIGTERM and SIGINT end it in order: it stops listening, finishes the requests in flight for at
  most `STOP_REQUESTS_SECONDS_MAX`, drains what is pending and closes both stores. A second signal
  ends the process at once; what was acknowledged is on disk.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import uvicorn
import uvloop

from meterhouse import limits
from meterhouse.app import Meterhouse
from meterhouse.background import is_set_within
from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.connection import Connection, WebSocket
from meterhouse.errors import StoreError
from meterhouse.ledger.engine import Ledger
from meterhouse.listen import Listening, Resources
from meterhouse.logs import NoteRequest

log = logging.getLogger("meterhouse.server")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_OVERTAKEN = 1


def run(
    config: Config,
    resources: Resources,
    clock: Clock,
    note: NoteRequest,
    announce: Callable[[Listening], None],
    *,
    open_dashboard: bool = False,
) -> None:
    """Serve until a signal; `announce` is called once the server answers.

    With `open_dashboard` it is told a link that signs in to the dashboard. Raises `StoreError` when
    a store cannot be opened.
    """
    sys.setswitchinterval(limits.THREAD_SWITCH_MICROSECONDS / 1_000_000)
    meterhouse = Meterhouse(config, clock, note, resources.engine, resources.ledger, resources.lock)
    Thread(target=_end_when_overtaken, args=(meterhouse.ledger,), daemon=True).start()
    url, *others = resources.urls
    listening = Listening(
        url,
        config.uds,
        config.data_dir,
        meterhouse.first_key,
        _pages(meterhouse, url, open_dashboard=open_dashboard),
        tuple(others),
        open=not config.loopback and not config.trusted_proxies.elsewhere,
    )

    def answering() -> None:
        meterhouse.write_server_file(listening.nearest)
        announce(listening)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(meterhouse, resources.sockets, answering))


def _pages(meterhouse: Meterhouse, url: str, *, open_dashboard: bool) -> str | None:
    """Return where people look, None where there is nothing to see."""
    if meterhouse.answering is None:
        return None
    dashboard = meterhouse.answering.dashboard
    return url + (dashboard.open_path() if open_dashboard else dashboard.address.home)


async def _serve(
    meterhouse: Meterhouse, sockets: list[socket.socket], answering: Callable[[], None]
) -> None:
    server = _Server(
        uvicorn.Config(
            meterhouse.asgi,
            http=Connection,
            ws=WebSocket,
            ws_max_size=limits.CLI_FRAME_BYTES_MAX,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=limits.LISTEN_BACKLOG_CONNECTIONS,
            timeout_keep_alive=limits.KEEP_ALIVE_SECONDS_MAX,
            timeout_graceful_shutdown=limits.STOP_REQUESTS_SECONDS_MAX,
        ),
        answering,
        meterhouse.answering.dashboard.end if meterhouse.answering else _nothing,
    )
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, _stop, loop, server)
    try:
        await meterhouse.start()
        # What has been built so far stays. Collections that look through it again and again
        # double the slowest answers.
        gc.collect()
        gc.freeze()
        if not server.should_exit:
            await server.serve(sockets)
    finally:
        await meterhouse.stop()


def _nothing() -> None:
    """Have nothing to end: a process that only works has no pages."""


def _stop(loop: asyncio.AbstractEventLoop, server: "_Server") -> None:
    """Take the first signal, and give the next one back to the system, which ends the process."""
    server.stop()
    for number in _SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)


def _end_when_overtaken(ledger: Ledger) -> None:
    """Look after the ledger until it has another owner, and leave everything to that one then."""
    while not ledger.overtaken.wait(limits.OWNER_LOOK_SECONDS):
        with suppress(StoreError):  # who does not answer now may answer later
            ledger.look_after()
    log.critical("another Meterhouse has taken the ledger over; this one ends at once")
    os._exit(_OVERTAKEN)


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves the signals to `_stop`.

    It tells when it answers, and before it waits for the requests in flight to end.
    """

    def __init__(
        self, config: uvicorn.Config, answering: Callable[[], None], ending: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._answering = answering
        self._ending = ending
        self._stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Tick once a second, which the date of answers needs, instead of ten times."""
        while not await self.on_tick(0):
            await is_set_within(self._stopping, 1)

    def stop(self) -> None:
        """Begin to stop."""
        self.should_exit = True
        self._stopping.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._answering()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()
        await super().shutdown(sockets)
