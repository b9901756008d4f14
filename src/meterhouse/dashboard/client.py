"""The API, asked from within the process by its own ASGI application.

A page gets no number but through here, so whatever it shows anyone can ask for with an API key.
The questions carry the operator's token and a mark in their ASGI scope, which no client can set:
the log and the request logs of the account leave them out. Numbers are exact: a decimal in an
answer is a `Decimal`, never a float.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from meterhouse.errors import MeterhouseError
from meterhouse.ledger.audit import Actor
from meterhouse.logs import WITHIN
from meterhouse.wire.version import DEFAULT_VERSION

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
Pairs = Iterable[tuple[str, Any]]

_FORM = "application/x-www-form-urlencoded"


class Space(NamedTuple):
    """An account in one mode; nothing that is shown is of two of them."""

    account: str
    livemode: bool

    @property
    def mode(self) -> str:
        """The mode as paths of the dashboard spell it."""
        return "live" if self.livemode else "test"


class Asker(NamedTuple):
    """Who has a page do something, from where, and whether straight from this machine."""

    actor: Actor
    address: str
    local: bool


class ApiError(MeterhouseError):
    """The API refused a question; the text is its own sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Asks on behalf of the operator; `token` is the one in the data folder.

    `bearer` questions carry another token instead, and may do what that one may.
    """

    def __init__(self, asgi: Asgi, token: str) -> None:
        self._asgi = asgi
        self._token = token

    async def get(self, space: Space, path: str, params: Pairs = ()) -> Any:
        """GET and return the JSON that is answered; raises `ApiError`."""
        return await self._ask(_scope("GET", path, params, self._headers(space)), b"")

    async def get_as(self, bearer: str, path: str, params: Pairs = ()) -> Any:
        """GET with another token than the operator's."""
        return await self._ask(_scope("GET", path, params, _bearer(bearer)), b"")

    async def post(self, by: Asker, space: Space, path: str, form: Pairs = ()) -> Any:
        """POST a form and return the JSON that is answered; raises `ApiError`."""
        headers = [*self._headers(space), ("content-type", _FORM)]
        scope = _scope("POST", path, (), headers, by)
        return await self._ask(scope, urlencode(list(form)).encode())

    async def post_json(self, by: Asker, space: Space, path: str, document: Any) -> Any:
        """POST a JSON document and return the JSON that is answered; raises `ApiError`."""
        headers = [*self._headers(space), ("content-type", "application/json")]
        scope = _scope("POST", path, (), headers, by)
        return await self._ask(scope, json.dumps(document).encode())

    async def delete(self, by: Asker, space: Space, path: str) -> Any:
        """DELETE and return the JSON that is answered; raises `ApiError`."""
        return await self._ask(_scope("DELETE", path, (), self._headers(space), by), b"")

    async def forward(
        self,
        by: Asker,
        method: str,
        space: Space,
        path: str,
        params: Pairs,
        accept: str,
        send: Send,
    ) -> None:
        """GET, or HEAD, and hand the answer to `send` piece by piece, as it comes."""
        headers = [*self._headers(space), ("accept", accept)]
        await self._asgi(_scope(method, path, params, headers, by), _receiver(b""), send)

    def _headers(self, space: Space) -> list[tuple[str, str]]:
        headers = [
            *_bearer(self._token),
            ("meterhouse-livemode", "true" if space.livemode else "false"),
            ("meterhouse-consistency", "eventual"),
        ]
        return [*headers, ("stripe-account", space.account)] if space.account else headers

    async def _ask(self, scope: Scope, body: bytes) -> Any:
        status, pieces = 0, []

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                pieces.append(message.get("body", b""))

        await self._asgi(scope, _receiver(body), send)
        document = json.loads(b"".join(pieces), parse_float=Decimal)
        if status != HTTPStatus.OK:
            raise ApiError(status, document["error"]["message"])
        return document


def path_part(text: str) -> str:
    """Return `text` as one part of a path, whatever is in it."""
    return quote(text, safe="")


def _bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}"), ("stripe-version", DEFAULT_VERSION.text)]


def _scope(method: str, path: str, params: Pairs, headers: Pairs, by: Asker | None = None) -> Scope:
    """Return the scope of a question; one that changes something tells who asks."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode([pair for pair in params if pair[1] is not None]).encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": None,
        "http_version": "1.1",
        "extensions": {WITHIN: by._asdict() if by else {"local": False}},
    }


def _receiver(body: bytes) -> Receive:
    """Hand out the body of a request whose client never goes away; its task may be cancelled."""
    pieces = [body]

    async def receive() -> Message:
        if not pieces:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": pieces.pop()}

    return receive
