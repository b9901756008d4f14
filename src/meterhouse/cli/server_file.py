"""Where the server of a data folder listens, as it tells the command line of its machine."""

import os
from typing import TypeVar

import httpx
import msgspec

from meterhouse.config import Config, shown
from meterhouse.errors import StoreError
from meterhouse.folder import SERVER_FILE

T = TypeVar("T")


class RunningServer(msgspec.Struct):
    """Where a running server listens, and the token that shows it that we are its operator."""

    pid: int
    url: str
    token: str

    @property
    def uds(self) -> str | None:
        """The path of the Unix socket that the server listens on best, if it has one."""
        path = self.url.removeprefix("unix://")
        return path if path != self.url else None

    @property
    def base_url(self) -> str:
        """What paths of the API are added to; on a Unix socket the host is only a name."""
        return self.url if self.uds is None else "http://meterhouse"

    @property
    def headers(self) -> dict[str, str]:
        """What shows the server that we are its operator."""
        return {"Authorization": f"Bearer {self.token}"}


def find_server(config: Config) -> RunningServer | None:
    """Return where the server of this data folder listens; None when no server lives there."""
    try:
        server = msgspec.json.decode(
            (config.data_dir / SERVER_FILE).read_bytes(), type=RunningServer
        )
        os.kill(server.pid, 0)
    except PermissionError as error:
        raise StoreError(
            f"The server of {shown(config.data_dir)} belongs to another user; do this as that user."
        ) from error
    except (OSError, msgspec.DecodeError):
        return None
    return server


def read_state(answer: httpx.Response, state: type[T], asked: str) -> T:
    """Read how far the server is with what it was `asked`; raises `StoreError` if it refuses."""
    if answer.status_code != httpx.codes.OK:
        raise StoreError(
            f"The server at {answer.url} refused to {asked} (status {answer.status_code}). "
            "Is it the server of this data folder?"
        )
    return msgspec.json.decode(answer.content, type=state)
