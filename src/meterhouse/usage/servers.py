"""ClickHouse servers that hold the same rows, and which of them is asked.

What a reader may rely on:

- `clickhouse://user:password@host:port,host:port/database?option=value` names them in the order in
  which they are tried; `clickhouses://` does so over TLS. The ports are those of HTTP.
- One of them is home: the first that answers. Whoever names them in the same order has the same
  home, so that answers hold what others have written. A server is left when it does not answer, or
  has not been able to write for `USAGE_HOME_SECONDS`; the first one is tried again as much later.
- A server that becomes home has caught up with the others before anybody asks it. Where none can,
  as without Keeper, home stays where it was, unless that did not answer meanwhile.
- A server that does not answer is found out within seconds, or those that a statement may take.
- The user and the password are in no text.
"""

import re
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, unquote

from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as DriverError
from clickhouse_connect.driver.exceptions import OperationalError
from urllib3 import Timeout

from meterhouse import limits
from meterhouse.errors import StoreError

TLS_SCHEMES = ("clickhouses", "https")

_URL = re.compile(r"(\w+)://(?:(.*)@)?([^/?@]*)(/[^?]*)?(?:\?(.*))?", re.DOTALL)
_HOST = re.compile(r"(\[[\w:.%]+\]|[^:\s]*)(?::(\d{1,5}))?")

# What a server cannot do while another one may.
_UNABLE = ("TABLE_IS_READ_ONLY", "NO_ZOOKEEPER", "KEEPER_EXCEPTION", "NOT_ENOUGH_SPACE")


class Host(NamedTuple):
    """One server; without a port it is the one that the scheme has."""

    name: str
    port: int | None


class Login(NamedTuple):
    """What every server of a URL is told, and the cluster that they belong to, if there is one."""

    tls: bool
    user: str | None
    password: str
    database: str
    options: dict[str, str]
    cluster: str | None


def read_url(url: str) -> tuple[Login, list[Host]]:
    """Read a URL; raises `StoreError`, which does not quote it, when it is none."""
    found = _URL.fullmatch(url)
    hosts = [_HOST.fullmatch(one) for one in found[3].split(",")] if found else []
    if found is None or not all(hosts):
        raise StoreError(
            "The URL of the usage store cannot be read: it must be like "
            "clickhouse://user:password@host:8123/database, with commas between several hosts."
        )
    user, _, password = (found[2] or "").partition(":")
    options = dict(parse_qsl(found[5] or ""))
    login = Login(
        tls=found[1] in TLS_SCHEMES,
        user=unquote(user) or None,
        password=unquote(password),
        database=unquote((found[4] or "")[1:].partition("/")[0]),
        cluster=options.pop("cluster", None),
        options=options,
    )
    return login, [
        Host(one[1].strip("[]") or "localhost", int(one[2]) if one[2] else None)
        for one in hosts
        if one
    ]


class Servers:
    """The servers that hold the same rows; `catch_up` brings one of them up to date.

    `place` is where they are, for people.
    """

    folder = None

    def __init__(
        self, login: Login, hosts: list[Host], catch_up: Callable[[Client], None] | None = None
    ) -> None:
        names = (f"[{host.name}]" if ":" in host.name else host.name for host in hosts)
        shown = (
            f"{name}:{host.port}" if host.port else name
            for name, host in zip(names, hosts, strict=True)
        )
        self.place = ",".join(shown) + (f"/{login.database}" if login.database else "")
        self.login = login
        self.hosts = hosts
        self._catch_up = catch_up
        self._home = 0
        self._certain = False
        self._caught_up: int | None = None  # the server that has missed nothing that we know of
        self._epoch = 0
        self._return_at = 0.0
        self._lock = Lock()

    @property
    def several(self) -> bool:
        """Whether there is another server when one fails."""
        return len(self.hosts) > 1

    def connect(self, settings: dict[str, Any]) -> tuple[Client, int]:
        """Return a client, and a number that tells when it has `moved`.

        Raises what the first server that was tried says, when none of them can be used.
        """
        failed: DriverError | OSError | None = None
        behind: dict[int, Client] = {}
        for number in self._order():
            try:
                behind[number] = client = self._greet(self.hosts[number], settings)
                return client, self._settle(number, client)
            except (DriverError, OSError) as error:
                failed = failed or error
        with self._lock:
            stay = None if self._caught_up is None else behind.get(self._caught_up)
            if stay is not None and self._caught_up is not None:
                return stay, self._become(self._caught_up)
        raise failed or StoreError("The URL of the usage store names no server.")

    def moved(self, epoch: int) -> bool:
        """Tell whether a client should be closed, because home may be elsewhere."""
        return epoch != self._epoch or self._due()

    def leave(self, epoch: int, error: BaseException) -> None:
        """Look for home anew, where it gave a client no answer or told that it is unable to."""
        unable = isinstance(error, DriverError) and error.name in _UNABLE
        with self._lock:
            if epoch != self._epoch:
                return
            if unanswered(error):
                self._caught_up = None
            elif not (unable and self.several and time.monotonic() >= self._return_at):
                return
            self._epoch += 1
            self._certain = False
            if unable:
                self._home = (self._home + 1) % len(self.hosts)
                self._wait()

    def close(self) -> None:
        """Nothing is held beside the clients."""

    def user(self) -> str | None:
        """Servers serve many."""
        return None

    def _due(self) -> bool:
        return self._home != 0 and time.monotonic() >= self._return_at

    def _order(self) -> list[int]:
        """Return the servers in the order in which they are to be tried."""
        with self._lock:
            first = [0] if self._due() else []
            if first:
                self._wait()
            return list(dict.fromkeys([*first, self._home, *range(len(self.hosts))]))

    def _wait(self) -> None:
        self._return_at = time.monotonic() + limits.USAGE_HOME_SECONDS

    def _greet(self, host: Host, settings: dict[str, Any]) -> Client:
        login = self.login
        # What the URL says wins, as it does in the driver.
        options: dict[str, Any] = {
            "connect_timeout": limits.USAGE_CONNECT_SECONDS_MAX,
            "send_receive_timeout": limits.USAGE_GREETING_SECONDS_MAX,
            **login.options,
        }
        client: Any = get_client(
            host=host.name,
            port=host.port,
            username=login.user,
            password=login.password,
            database=login.database or None,
            secure=login.tls,
            autogenerate_session_id=False,  # a session refuses two statements at a time
            settings=settings,
            **options,
        )
        if "send_receive_timeout" not in login.options:
            # A statement may take longer than a greeting. A server that is busy with one tells so
            # every few seconds, so it is not silent.
            seconds = settings["max_execution_time"] + limits.USAGE_LATE_SECONDS_MAX
            client.timeout = Timeout(
                connect=client.timeout.connect_timeout,
                read=min(seconds, limits.USAGE_SILENT_SECONDS_MAX),
            )
        return cast("Client", client)

    def _settle(self, number: int, client: Client) -> int:
        """Make a server that answers home, once it has caught up."""
        with self._lock:
            if number != self._home or not self._certain:
                if self._catch_up is not None:
                    self._catch_up(client)
                self._become(number)
            return self._epoch

    def _become(self, number: int) -> int:
        self._epoch += number != self._home
        self._home, self._certain, self._caught_up = number, True, number
        self._wait()
        return self._epoch


def unanswered(error: BaseException) -> bool:
    """Tell whether a server gave no answer at all, neither a result nor what was wrong."""
    return isinstance(error, OSError) or (isinstance(error, OperationalError) and not error.code)
