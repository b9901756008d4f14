"""A small HTTP client on one kept-alive connection, which tells exactly when it was lost.

Of several servers it asks one until it loses that, and then the next. An answer was either read to
its end, or the request may or may not have had its effect: nothing in between, and no retry behind
the caller's back.
"""

import asyncio
import json
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlencode, urlsplit

from tests.crash.server import KEY

ANSWER_SECONDS_MAX = 60
VERSION = "2026-10-28.endive"

Address: TypeAlias = Path | str


class UnreachableError(ConnectionError):
    """Nobody listened: the request was not sent, so it had no effect."""


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    document: dict[str, Any]

    @property
    def message(self) -> str:
        """The sentence of an error."""
        return str(self.document.get("error", {}).get("message", ""))


class Client:
    """One connection, opened anew whenever it was lost.

    An address is the path of a Unix socket, or a URL.
    """

    def __init__(self, *addresses: Address, key: str = KEY) -> None:
        self._addresses = cycle(addresses)
        self._address = next(self._addresses)
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, **parameters: str | int) -> Reply:
        return await self.send("GET", f"{path}?{urlencode(parameters)}", "", {})

    async def post(self, path: str, form: dict[str, str], key: str | None = None) -> Reply:
        """Send a request to API v1, under an idempotency key if one is given."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self.send("POST", path, urlencode(form), headers | _keyed(key))

    async def post_v2(
        self, path: str, document: dict[str, Any], key: str | None = None, bearer: str = ""
    ) -> Reply:
        """Send a request to API v2 with the secret key or the token of a session."""
        headers = {
            "Authorization": f"Bearer {bearer or self._key}",
            "Content-Type": "application/json",
            "Stripe-Version": VERSION,
        }
        return await self.send("POST", path, json.dumps(document), headers | _keyed(key))

    async def send(self, method: str, path: str, body: str, headers: dict[str, str]) -> Reply:
        """Send one request; raises `ConnectionError` when the answer did not come."""
        head = {
            "Host": "meterhouse",
            "Authorization": f"Bearer {self._key}",
            "Content-Length": str(len(body)),
        } | headers
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {head[name]}" for name in head), "", body]
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                reader, writer = await self._open()
                writer.write("\r\n".join(lines).encode())
                return await _read(reader)
        except TimeoutError as error:
            raise AssertionError(f"{method} {path} hangs") from error
        except UnreachableError:
            self._address = next(self._addresses)
            raise
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            self._address = next(self._addresses)
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            try:
                self._streams = await _connect(self._address)
            except OSError as error:
                raise UnreachableError(str(error)) from error
        return self._streams


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, Path):
        return await asyncio.open_unix_connection(str(address))
    url = urlsplit(address)
    tls = url.scheme == "https"
    return await asyncio.open_connection(
        url.hostname, url.port or (443 if tls else 80), ssl=tls or None
    )


def _keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


async def _read(reader: asyncio.StreamReader) -> Reply:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name
    }
    body = await reader.readexactly(int(headers["content-length"]))
    return Reply(int(status.split()[1]), headers, json.loads(body, parse_float=Decimal))
