"""The server: listens, answers until it is told to stop, and ends in order.

What a reader may rely on:

- It listens before the stores are opened, so a port in use is told at once, and a client that is
  early waits instead of being turned away.
- SIGTERM and SIGINT end it in order: it stops listening, finishes the requests in flight for at
  most `STOP_REQUESTS_SECONDS_MAX`, drains what is pending and closes both stores. A second signal
  ends the process at once; what was acknowledged is on disk.
- The Unix socket speaks the same HTTP as the TCP port. Its owner and group may connect to it.
"""

import asyncio
import gc
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import uvicorn
import uvloop

from meterhouse import limits
from meterhouse.app import Meterhouse
from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.connection import Connection, WebSocket
from meterhouse.errors import ConfigError
from meterhouse.logs import NoteRequest

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a setting may say


class Listening(NamedTuple):
    """A server that listens: where, where its data is, and the key that its first start made.

    `dashboard` is where people look; a link that signs in once, where that was asked for.
    """

    url: str
    uds: Path | None
    data_dir: Path
    first_key: str | None
    dashboard: str

    @property
    def door(self) -> str:
        """Where the command line of this machine reaches the server best."""
        return f"unix://{self.uds}" if self.uds else self.url


def run(
    config: Config,
    clock: Clock,
    note: NoteRequest,
    announce: Callable[[Listening], None],
    *,
    open_dashboard: bool = False,
) -> None:
    """Serve until a signal; `announce` is called once the server answers.

    With `open_dashboard` it is told a link that signs in to the dashboard. Raises `ConfigError`
    when it cannot listen, `StoreError` when a store cannot be opened.
    """
    if open_dashboard and not config.loopback:
        raise ConfigError(
            f"--open-dashboard works on a loopback address only, and the server is to listen on "
            f"{config.host}. Make a user instead: meterhouse users create NAME --role admin."
        )
    _allow_open_files()
    sys.setswitchinterval(limits.THREAD_SWITCH_MICROSECONDS / 1_000_000)
    with ExitStack() as doors:
        port = doors.enter_context(_listen(config.host, config.port))
        sockets = [port]
        if config.uds is not None:
            sockets.append(doors.enter_context(_listen_on_path(config.uds)))
        meterhouse = Meterhouse(config, clock, note, apart=True)
        pages = meterhouse.dashboard.open_path() if open_dashboard else "/dashboard"
        url = _url(port)
        listening = Listening(url, config.uds, config.data_dir, meterhouse.first_key, url + pages)

        def answering() -> None:
            meterhouse.open_door(listening.door)
            announce(listening)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(meterhouse, sockets, answering))


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
        meterhouse.dashboard.end,
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


def _stop(loop: asyncio.AbstractEventLoop, server: uvicorn.Server) -> None:
    """Take the first signal, and give the next one back to the system, which ends the process."""
    server.should_exit = True
    for number in _SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)


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

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._answering()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending()
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    """Listen on a TCP port; port 0 takes a free one. The socket closes as a context manager."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(limits.LISTEN_BACKLOG_CONNECTIONS)
    except (OSError, UnicodeError) as error:  # a name that cannot be one is a UnicodeError
        listener.close()
        raise ConfigError(
            f"Cannot listen on {host}, port {port}: {_reason(error)}. Choose another address with "
            "--host or another port with --port."
        ) from error
    return listener


@contextmanager
def _listen_on_path(path: Path) -> Iterator[socket.socket]:
    """Listen on a Unix socket, in place of one that a dead process left behind."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(limits.LISTEN_BACKLOG_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Cannot listen on the Unix socket {path}: {_reason(error)}. Choose another path with "
            "--uds."
        ) from error
    with listener:
        yield listener
    path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on; leave everything else to `bind` to refuse."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)


def _reason(error: OSError | UnicodeError) -> str:
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    return reason[:1].lower() + reason[1:]


def _url(listener: socket.socket) -> str:
    """Return the URL that reaches `listener` from this machine."""
    address, port = listener.getsockname()[:2]
    host = _EVERY_ADDRESS.get(address, address)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allow_open_files() -> None:
    """Raise the process' own limit of open files, so that connections do not run into it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limits.LISTEN_OPEN_FILES
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
