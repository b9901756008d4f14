"""What a server has before it is imported: sockets, its folder, its engine process, its ledger.

What a reader may rely on:

- A port, a folder or a ledger in use is told at once, and a client that is early waits instead of
  being turned away.
- Next to nothing is imported here, so the engine process begins at once, too. It opens the stores
  while the server is imported.
- The Unix socket speaks the same HTTP as the TCP port. Its owner and group may connect to it.
"""

import logging
import resource
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.engine.start import EngineConfig, EngineProcess
from meterhouse.errors import ConfigError, InUseError
from meterhouse.folder import lock_folder

if TYPE_CHECKING:
    from meterhouse.ledger.engine import Ledger

T = TypeVar("T")

log = logging.getLogger("meterhouse.listen")

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a setting may say


class Listening(NamedTuple):
    """A server that listens: where, where its data is, and the key that its first start made.

    `dashboard` is where people look; a link that signs in once, where that was asked for; None
    where the process only works. `others` are URLs beside `url`, of other addresses of this
    machine. `open` tells that other machines reach the port, and that none of them is known as a
    proxy. `nodes` are the processes behind the port, each with a URL of its own, where there
    are several.
    """

    url: str
    uds: Path | None
    data_dir: Path
    first_key: str | None
    dashboard: str | None
    others: tuple[str, ...] = ()
    open: bool = False
    nodes: tuple[str, ...] = ()

    @property
    def nearest(self) -> str:
        """Where the command line of this machine reaches the server best."""
        return f"unix://{self.uds}" if self.uds else self.url


class Resources(NamedTuple):
    """Sockets that listen, the URLs of the first one, the folder's lock, the engine, the ledger.

    The first URL is for this machine; others are of other addresses. The engine process has begun,
    unless the role needs none, and we are the owner of the ledger, or one of those who share it.
    """

    sockets: list[socket.socket]
    urls: tuple[str, ...]
    lock: IO[str]
    engine: EngineProcess | None
    ledger: "Ledger"


@contextmanager
def acquire(
    config: Config, clock: Clock, inherited: Sequence[socket.socket] = ()
) -> Iterator[Resources]:
    """Listen, lock the data folder, begin the engine process and become an owner of the ledger.

    All of it ends with the block. Raises `ConfigError` when it cannot listen, `StoreError` when the
    folder or the ledger cannot be used. A standby waits until nobody else has them, and listens
    only then: whoever asks it earlier is sent to the one that answers. Sockets that are `inherited`
    listen already, the first of them at its own URL.
    """
    _allow_open_files()
    with ExitStack() as resources:
        if inherited:
            sockets, urls = list(inherited), _urls(inherited[0])
        elif not config.standby:
            sockets, urls = listen_everywhere(config, resources)
        lock = resources.enter_context(_in_turn(config, lambda: lock_folder(config.data_dir)))
        engine = None
        if config.role != "api":
            engine = resources.enter_context(EngineProcess(EngineConfig.of(config), lock))
        ledger = resources.enter_context(_in_turn(config, lambda: _owned_ledger(config, clock)))
        if engine is not None:
            engine.proceed()
        if config.standby and not inherited:
            sockets, urls = listen_everywhere(config, resources)
        yield Resources(sockets, urls, lock, engine, ledger)


def _in_turn(config: Config, take: Callable[[], T]) -> T:
    """Take what one Meterhouse alone may have; a standby waits for it."""
    told = ""
    while True:
        try:
            return take()
        except InUseError as error:
            if not config.standby:
                raise
            if str(error) != told:
                told = str(error)
                log.info("standing by: %s", told)
        time.sleep(limits.STANDBY_LOOK_SECONDS)


def listen_everywhere(
    config: Config, resources: ExitStack
) -> tuple[list[socket.socket], tuple[str, ...]]:
    """Listen where the settings say; return the sockets, and the URLs of the first one."""
    port = resources.enter_context(listen(config.host, config.port))
    sockets = [port]
    if config.uds is not None:
        sockets.append(resources.enter_context(_listen_on_path(config.uds)))
    return sockets, _urls(port)


def _owned_ledger(config: Config, clock: Clock) -> "Ledger":
    # What a ledger needs is imported once the engine process has begun.
    from meterhouse.ledger.engine import open_ledger  # noqa: PLC0415
    from meterhouse.ledger.owner import Owner  # noqa: PLC0415

    owner = Owner.here(config.data_dir, clock.now())
    return open_ledger(config.database_url, owner, alone=config.role == "all")


def listen(host: str, port: int) -> socket.socket:
    """Listen on a TCP port; port 0 takes a free one. The socket closes as a context manager."""
    with ExitStack() as opened:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            # Of the addresses of a name that of version 4, which every client on a machine has.
            family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)
            listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address[0] == "::":
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(address)
            listener.listen(limits.LISTEN_BACKLOG_CONNECTIONS)
        except (OSError, UnicodeError) as error:  # a name that cannot be one is a UnicodeError
            raise ConfigError(
                f"Cannot listen on {host}, port {port}: {_reason(error)}. Choose another address "
                "with --host or another port with --port."
            ) from error
        opened.pop_all()
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


def _urls(listener: socket.socket) -> tuple[str, ...]:
    """Return the URLs that reach `listener`: first one for this machine, then the others."""
    address, port = listener.getsockname()[:2]
    addresses = [_EVERY_ADDRESS.get(address, address)]
    if address in _EVERY_ADDRESS:
        addresses += [one for one in _of_this_machine(address) if one not in addresses]
    return tuple(
        f"http://[{host.replace('%', '%25')}]:{port}" if ":" in host else f"http://{host}:{port}"
        for host in addresses
    )


def _of_this_machine(every: str) -> list[str]:
    """Return the addresses that `every` stands for, but for those that one link alone knows."""
    import psutil  # noqa: PLC0415 - few servers listen on every address

    return [
        one.address
        for interface in psutil.net_if_addrs().values()
        for one in interface
        if one.family == socket.AF_INET
        or (one.family == socket.AF_INET6 and every == "::" and "%" not in one.address)
    ]


def _allow_open_files() -> None:
    """Raise the process' own limit of open files, so that connections do not run into it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = limits.LISTEN_OPEN_FILES
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
