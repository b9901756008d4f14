"""One request on its way through the api room, and its answer."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import IO, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import msgspec
import sqlalchemy as sa

from meterhouse.api.authentication import Credential
from meterhouse.api.services import Services
from meterhouse.errors import NO_HEADERS
from meterhouse.gone import Receive
from meterhouse.ledger import audit
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.audit import Actor, Changes, Origin
from meterhouse.metering.model import Scope
from meterhouse.usage.store import UsageStore
from meterhouse.wire.body import to_json
from meterhouse.wire.document import DocumentT, read_document
from meterhouse.wire.expand import expanded_resources
from meterhouse.wire.form import parse_form
from meterhouse.wire.params import RequestParams, read_params
from meterhouse.wire.query import QueryT, read_query
from meterhouse.wire.version import Api, ApiVersion

P = ParamSpec("P")
T = TypeVar("T")
ParamsT = TypeVar("ParamsT", bound=RequestParams)


class Answer(NamedTuple):
    """A status, a body, and headers beyond those that every answer has.

    The body may be a `file` instead, which is sent piece by piece and closed; or `pieces`, each of
    which is sent when it comes.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = NO_HEADERS
    content_type: str = "application/json"
    file: IO[bytes] | None = None
    pieces: AsyncGenerator[bytes] | None = None


def ok(document: Any) -> Answer:
    """Answer 200 with `document` as JSON."""
    return Answer(200, to_json(document))


class OpenRequest(NamedTuple):
    """A request of whoever comes: its `Authorization` header, and whether it is of this machine.

    `request` is its id, and `address` where it comes from.
    """

    authorization: str | None
    local: Callable[[], bool]
    request: str
    address: str


class Call(msgspec.Struct, frozen=True):
    """A request that has passed the gate: authenticated, its parameters not yet read.

    `ids` are the variable parts of the path. `parameters` are a form in API v1 and wherever a
    request has no body, else JSON. `headers` are those of the request as they came, their names in
    small letters; `peer` is where the connection came from, empty on the Unix socket; `local` tells
    whether that was this machine, with no proxy in between. `connected`
    tells that the sender named the account to act for. `now` is when the request was received
    (milliseconds). `strong` tells whether a read must include all that was acknowledged before,
    `exact` whether usage is wanted as text, too. `forwarded` is the header `X-Forwarded-For`, and
    `inside` what one of our own pages tells about who has it ask. `credential` is what the API key
    or token opens, and `receive`, where the request only reads, tells when the client goes away,
    and refuses once the key has ended.
    """

    services: Services
    request: str
    api: Api
    method: str
    path: str
    ids: tuple[str, ...]
    parameters: bytes
    scope: Scope
    connected: bool
    version: ApiVersion
    now: int
    strong: bool
    exact: bool
    idempotency_key: str | None
    fingerprint: bytes
    headers: Mapping[bytes, bytes]
    peer: str
    local: Callable[[], bool]
    forwarded: str
    inside: Mapping[str, Any] | None
    credential: Credential
    receive: Receive | None = None

    @property
    def sender(self) -> int:
        """Whose share of the stores is used."""
        return self.credential.sender

    @property
    def origin(self) -> Origin:
        """Who asks for a change, as the audit log tells it."""
        if self.inside is not None:
            actor, address = self.inside["actor"], self.inside["address"]
        else:
            actor = _actor(self.credential)
            address = self.services.config.trusted_proxies.client(self.forwarded, self.peer)
        return Origin(actor, self.now, address, self.request)

    @property
    def cause(self) -> Cause:
        """What brings a change about, as events tell it."""
        pages = self.services.config.pages
        return Cause(self.scope, self.now, self.request, self.idempotency_key, pages)

    def note(
        self,
        connection: sa.Connection,
        action: str,
        object_id: str | None,
        changes: Changes | None = None,
    ) -> None:
        """Write into the audit log what this request does in the transaction of `connection`."""
        audit.note(connection, self.origin, action, self.scope.id, object_id, changes)

    async def read(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(connection, …)` on a consistent view of the ledger; it may run twice."""
        questions = self.services.questions
        return await questions.read(self.sender, self.receive, work, *args, **kwargs)

    async def usage(
        self,
        work: Callable[Concatenate[UsageStore, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(usage store, …)`; it may run twice."""
        questions = self.services.questions
        return await questions.usage(self.sender, self.receive, work, *args, **kwargs)

    def params(self, cls: type[ParamsT]) -> ParamsT:
        """Read the parameters as a `cls`; refuse what is not in order."""
        params = read_params(cls, parse_form(self.parameters))
        self.require_expanded(params.expand)
        return params

    def require_expanded(self, paths: Iterable[str]) -> None:
        """Refuse with 403 to expand what the key may not read."""
        for resource in expanded_resources(paths):
            self.credential.require(resource, "read")

    def query(self, cls: type[QueryT]) -> QueryT:
        """Read the parameters of a GET of API v2 as a `cls`; refuse what is not in order."""
        return read_query(cls, self.parameters)

    def document(self, cls: type[DocumentT]) -> DocumentT:
        """Read the JSON body as a `cls`; refuse what is not in order."""
        return read_document(cls, self.parameters)

    @property
    def whole(self) -> bool:
        """Whether usage values of this request must be whole numbers."""
        return not self.version.decimals_allowed or self.services.config.values == "whole"


def _actor(credential: Credential) -> Actor:
    if credential.key is None:
        return audit.OPERATOR
    return Actor("api_key", credential.key, credential.hint)
