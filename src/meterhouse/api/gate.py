"""The gate: what every request goes through, whatever it asks for.

In this order: a request id, the route, the body (unpacked, bounded in size and time; one that is
not small is kept only of who has an API key), the API key, the API version, the permission, the
parameters' tree, the handler. Whatever goes wrong on the way becomes Stripe's error object with the
right status, in the shape of the API that the path belongs to; the sender never sees a traceback.
Each request leaves one line in the log, without its parameters, its mark in the metrics, and what
its sender can read of it later. A websocket goes to `api.subscribe`.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import IO, Any

from meterhouse import limits
from meterhouse.api.authentication import Credential
from meterhouse.api.body import Bodies, Hold
from meterhouse.api.call import Answer, Call, OpenRequest
from meterhouse.api.cors import Cors
from meterhouse.api.idempotency import METHODS, fingerprint
from meterhouse.api.once import refused
from meterhouse.api.routes import Route, Routes
from meterhouse.api.services import Services, is_operator
from meterhouse.api.subscribe import Receive, Scope, Send, subscribe
from meterhouse.errors import CrowdedError, Refusal, SlowError, StoreError
from meterhouse.gone import Disconnected, break_off, until_gone
from meterhouse.logs import WITHIN, AnsweredRequest
from meterhouse.proxies import comes_straight
from meterhouse.wire import envelope
from meterhouse.wire.credentials import read_authorization
from meterhouse.wire.document import read_include
from meterhouse.wire.embed import is_embed_token
from meterhouse.wire.envelope_v2 import missing_version, not_json, session_expired
from meterhouse.wire.ids import new_id
from meterhouse.wire.refusals import embed_token_expired
from meterhouse.wire.session import is_token
from meterhouse.wire.version import DEFAULT_VERSION, Api, ApiVersion, api_of, parse_version

log = logging.getLogger("meterhouse.request")

_ECHOED = (b"idempotency-key", b"stripe-account")
_ENCODING = b"content-encoding"
_FORWARDED = b"x-forwarded-for"
_FORM = b"application/x-www-form-urlencoded"
_JSON = b"application/json"


class Request:
    """What is known of a request while it passes; filled in step by step."""

    __slots__ = (
        "account",
        "api",
        "encoding",
        "forwarded",
        "headers",
        "held",
        "http_version",
        "id",
        "inside",
        "livemode",
        "method",
        "path",
        "peer",
        "query",
        "raw_path",
        "receive",
        "route",
        "version",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.id = new_id("req")
        self.receive = receive
        client = scope.get("client")
        self.peer: str = client[0] if client else ""  # there is none on a Unix socket
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: str = (scope.get("raw_path") or b"").decode("latin-1")
        self.api: Api = api_of(self.path)
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.encoding = _all(scope, _ENCODING) if _ENCODING in self.headers else None
        self.forwarded = _all(scope, _FORWARDED) if _FORWARDED in self.headers else ""
        self.held: Hold | None = None  # of the memory for bodies
        self.route: Route | None = None
        self.version: ApiVersion = DEFAULT_VERSION
        self.account = ""
        self.livemode: bool | None = None
        self.http_version: str = scope["http_version"]
        self.inside: dict[str, Any] | None = scope.get("extensions", {}).get(WITHIN)

    def local(self) -> bool:
        """Tell whether it comes straight from this machine; for our pages, who asked for them."""
        if self.inside is not None:
            return bool(self.inside["local"])
        return comes_straight(self.headers, self.peer, self.http_version)

    def header(self, name: bytes) -> str | None:
        """Return a request header as text, None when it is absent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def on_behalf(self) -> str:
        """The account that is named to act for, or the way to it; empty where none is."""
        return self.header(b"stripe-context") or self.header(b"stripe-account") or ""


class Gate:
    """The ASGI application of the API."""

    def __init__(self, services: Services, routes: Routes) -> None:
        self._services = services
        self._routes = routes
        self._cors = Cors(services.config.embed_origins)
        self._bodies = Bodies(services.metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one websocket."""
        if scope["type"] == "websocket":
            await subscribe(self._services, scope, receive, send)
            return
        started = time.perf_counter()
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except Disconnected:
            return
        finally:
            self._bodies.release(request.held)
        if request.route is not None and request.route.embed:
            answer = self._shared(request, answer)
        try:
            await _send(send, request, answer)
        except Refusal:  # the key has ended, and the answer has begun
            await break_off(scope, receive)
        except Disconnected:
            pass
        self._note(request, answer, time.perf_counter() - started)

    async def _answer(self, request: Request) -> Answer:
        try:
            return await self._route(request)
        except Refusal as refusal:
            return refused(refusal, request.api)
        except CrowdedError:
            self._services.metrics.overloads.labels("questions").inc()
            return refused(envelope.rate_limited("endpoint-concurrency"), request.api)
        except SlowError:
            return refused(envelope.too_slow(), request.api)
        except StoreError as error:
            # Its sentence tells all. Tracebacks of everyone who tries again would fill the disk.
            log.error("request %s: %s", request.id, error)  # noqa: TRY400 - see above
            return refused(envelope.unavailable(), request.api)
        except Disconnected:
            raise
        except Exception:
            log.exception("request %s failed", request.id)
            return refused(envelope.api_error(), request.api)

    async def _route(self, request: Request) -> Answer:
        route, ids = self._routes.find(request.method, request.path, request.raw_path)
        bytes_max = limits.REQUEST_BODY_BYTES_MAX if route is None else route.body_bytes_max
        length = request.headers.get(b"content-length")

        async def admit() -> int:
            return await self._sender(route, request)

        body, request.held = await self._bodies.read(
            request.receive, bytes_max, request.encoding, length, admit
        )
        if request.method == "OPTIONS":
            return self._preflight(request)
        if route is None:
            raise envelope.unrecognized_url(request.method, request.path)
        request.route = route
        if route.open is not None:
            return await route.open(self._services, self._opened(request))
        return await self._handle(route, ids, request, body)

    def _opened(self, request: Request) -> OpenRequest:
        authorization, address = request.header(b"authorization"), self._address(request)
        return OpenRequest(authorization, request.local, request.id, address)

    def _address(self, request: Request) -> str:
        """Return where a request comes from."""
        return self._services.config.trusted_proxies.client(request.forwarded, request.peer)

    def _preflight(self, request: Request) -> Answer:
        """Tell a browser whether a page may ask with an embed token; nothing else has options."""
        route, _ = self._routes.find("GET", request.path, request.raw_path)
        told = self._cors.preflight(request.headers) if route and route.embed else None
        if told is None:
            raise envelope.unrecognized_url(request.method, request.path)
        request.route = route
        return Answer(HTTPStatus.OK, b"", told)

    def _shared(self, request: Request, answer: Answer) -> Answer:
        """Let the page that asked read an answer."""
        shared = self._cors.headers(request.headers)
        return answer._replace(headers={**shared, **answer.headers})

    async def _handle(
        self, route: Route, ids: tuple[str, ...], request: Request, body: bytes
    ) -> Answer:
        services = self._services
        if route.sends and services.timekeeper.behind() is not None:  # credentials go by it, too
            raise envelope.clock_behind()
        credential = await self._credential(route, request)
        scope = credential.scope
        request.account, request.livemode = scope.account, scope.livemode
        request.version = _version(request)
        credential.require(route.resource, route.access)
        if route.hears:
            credential.require(route.hears, "read")
        if route.access == "read":
            request.receive = services.authentication.bounded(request.receive, credential)
        if services.rate_limits is not None and route.limit is not None:
            services.rate_limits.admit(route.limit, scope, connected=bool(request.on_behalf))
        as_json = request.api == "v2" or route.json
        parameters = _document(request, body) if as_json else _parameters(request, body)
        key = _idempotency_key(request)
        call = Call(
            services,
            request.id,
            request.api,
            request.method,
            request.path,
            ids,
            parameters,
            scope,
            bool(request.on_behalf),
            request.version,
            services.clock.now(),
            _strong(request, livemode=scope.livemode),
            _exact(request),
            key,
            fingerprint(request.api, request.method, request.path, parameters) if key else b"",
            request.headers,
            request.peer,
            request.local,
            request.forwarded,
            request.inside,
            credential,
            request.receive if route.access == "read" else None,
        )
        if route.access == "read":
            return await route.handler(call)
        with services.freshness.receiving(call.now):
            return await _handle_once(route, call)

    async def _sender(self, route: Route | None, request: Request) -> int:
        """Return who sends a body that is not small; refuse one that nobody takes."""
        if route is None:
            raise envelope.unrecognized_url(request.method, request.path)
        if route.open is not None:
            raise envelope.body_too_large(limits.REQUEST_BODY_SMALL_BYTES)
        return (await self._credential(route, request)).sender

    async def _credential(self, route: Route, request: Request) -> Credential:
        authentication, asked = self._services.authentication, request.on_behalf
        account = asked.rpartition("/")[2] or asked  # a context without an end is refused
        secret = read_authorization(request.header(b"authorization"))
        if is_operator(self._services, secret):
            livemode = request.header(b"meterhouse-livemode") == "true"
            return await authentication.operator(account, livemode=livemode)
        if route.session and is_token(secret):
            session = await self._services.sessions.credential(
                secret, account, self._services.clock.now()
            )
            return await authentication.check(session, session_expired())
        if route.embed and is_embed_token(secret):
            embed = await self._services.embed_tokens.credential(
                secret, account, self._services.clock.now()
            )
            return await authentication.check(embed, embed_token_expired())
        credential = await authentication.credential(secret, account)
        if route.operator_only:
            raise envelope.operator_only()
        return credential

    def _note(self, request: Request, answer: Answer, seconds: float) -> None:
        services, route = self._services, request.route
        path = route.path if route else "unrecognized"
        method = request.method if route else "any"  # a sender must not add to the labels
        services.metrics.note_request(method, path, answer.status, seconds)
        if request.inside is not None:  # our own pages ask
            return
        answered = AnsweredRequest(
            services.clock.now(),
            request.method,
            request.path,
            answer.status,
            seconds,
            request.id,
            request.account,
            request.livemode,
        )
        services.note(answered)
        if route is not None and route.logged and request.account:
            refused = answer.body if answer.status >= HTTPStatus.BAD_REQUEST else b""
            address = self._address(request)
            services.request_logs.note(answered, request.version.text, address, refused)


async def _handle_once(route: Route, call: Call) -> Answer:
    """Handle a request while no other one under its idempotency key is."""
    key, scope = call.idempotency_key, call.scope.id
    if key is None:
        return await route.handler(call)
    keys_in_use = call.services.keys_in_use
    keys_in_use.hold(scope, call.api, key)
    try:
        return await route.handler(call)
    finally:
        keys_in_use.release(scope, call.api, key)


def _all(scope: Scope, name: bytes) -> str:
    """Return a header that may stand in several lines as if it stood in one."""
    return b", ".join(value for one, value in scope["headers"] if one == name).decode("latin-1")


def _parameters(request: Request, body: bytes) -> bytes:
    """Return the parameters as one form: those of the query and those of the body."""
    if request.method != "POST":
        return request.query
    if body and not request.headers.get(b"content-type", _FORM).lower().startswith(_FORM):
        raise envelope.wrong_content_type()
    return b"&".join((request.query, body)) if request.query and body else request.query or body


def _document(request: Request, body: bytes) -> bytes:
    """Return the parameters of a JSON request: its body, or the query where there is none."""
    if request.method != "POST":
        return request.query
    if request.query:
        read_include(request.query)
    if body and not request.headers.get(b"content-type", _JSON).lower().startswith(_JSON):
        raise not_json()
    return body


def _version(request: Request) -> ApiVersion:
    text = request.header(b"stripe-version")
    if text is not None:
        return parse_version(text)
    if request.api == "v2":
        raise missing_version()
    return DEFAULT_VERSION


def _idempotency_key(request: Request) -> str | None:
    allowed = request.method in METHODS[request.api]
    key = request.header(b"idempotency-key") if allowed else None
    if key and len(key) > limits.IDEMPOTENCY_KEY_CHARS_MAX:
        raise envelope.idempotency_key_too_long()
    return key or None


def _strong(request: Request, *, livemode: bool) -> bool:
    """Whether the request wants to read its writes (design: on for test mode, off for live)."""
    wish = request.header(b"meterhouse-consistency")
    if wish not in (None, "strong", "eventual"):
        raise envelope.invalid_consistency(wish)
    return not livemode if wish is None else wish == "strong"


def _exact(request: Request) -> bool:
    """Whether the request wants usage as text, too, because its JSON reader rounds numbers."""
    wish = request.header(b"meterhouse-exact")
    if wish not in (None, "true", "false"):
        raise envelope.invalid_exact(wish)
    return wish == "true"


async def _send(send: Send, request: Request, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.content_type.encode("latin-1")),
        *_length(answer),
        (b"request-id", request.id.encode()),
        (b"stripe-version", request.version.text.encode()),
    ]
    headers += [(name, request.headers[name]) for name in _ECHOED if name in request.headers]
    headers += [
        (name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()
    ]
    begin = {"type": "http.response.start", "status": answer.status, "headers": headers}
    if answer.file is not None:
        await _send_file(send, begin, request, answer.file)
        return
    if answer.pieces is not None:
        await _send_stream(send, begin, request, answer.pieces)
        return
    await send(begin)
    body = b"" if request.method == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body})


async def _send_file(send: Send, begin: dict[str, Any], request: Request, file: IO[bytes]) -> None:
    """Send a file piece by piece, no faster than the client takes it."""
    with file:
        await send(begin)
        if request.method != "HEAD":
            await until_gone(request.receive, _send_pieces(send, file))
    await send({"type": "http.response.body", "body": b""})


async def _send_stream(
    send: Send, begin: dict[str, Any], request: Request, pieces: AsyncGenerator[bytes]
) -> None:
    """Send pieces as they come, until there are no more or the client goes away."""

    async def send_all() -> None:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    await send(begin)
    async with aclosing(pieces):
        if request.method != "HEAD":
            await until_gone(request.receive, send_all())
    await send({"type": "http.response.body", "body": b""})


def _length(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Return the header that tells how long an answer is, where that is known."""
    if answer.pieces is not None:
        return []
    size = len(answer.body) if answer.file is None else os.fstat(answer.file.fileno()).st_size
    return [(b"content-length", b"%d" % size)]


async def _send_pieces(send: Send, file: IO[bytes]) -> None:
    while piece := await asyncio.to_thread(file.read, limits.ANSWER_PIECE_BYTES):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
