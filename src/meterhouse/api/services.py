"""What the api room works with: everything that `app` has built, in one value."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from meterhouse.api.authentication import Authentication
from meterhouse.api.embed_tokens import EmbedTokens
from meterhouse.api.entitlements import Entitlements
from meterhouse.api.idempotency import KeysInUse
from meterhouse.api.questions import Questions
from meterhouse.api.rate_limits import RateLimits
from meterhouse.api.sessions import Sessions
from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.delivery.broadcast import Broadcast
from meterhouse.identifiers.index import Identifiers
from meterhouse.ingest.accept import Acceptor
from meterhouse.jobs.exports import Exports
from meterhouse.jobs.request_logs import RequestLogs
from meterhouse.jobs.snapshot import Snapshots
from meterhouse.jobs.verifications import Verifications
from meterhouse.ledger.signals import Signals
from meterhouse.logs import NoteRequest
from meterhouse.metrics import Metrics
from meterhouse.processing.freshness import Freshness
from meterhouse.processing.progress import Progress
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.stores import Stores
from meterhouse.wire import envelope
from meterhouse.wire.credentials import mask, read_authorization
from meterhouse.wire.event_id import EventIds


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that handlers call; `rate_limits` is None in the limits profile `off`."""

    config: Config
    clock: Clock
    timekeeper: Timekeeper
    metrics: Metrics
    stores: Stores
    questions: Questions
    identifiers: Identifiers
    acceptor: Acceptor
    progress: Progress
    freshness: Freshness
    verification: Verifications
    snapshots: Snapshots
    authentication: Authentication
    sessions: Sessions
    embed_tokens: EmbedTokens
    event_ids: EventIds
    broadcast: Broadcast
    request_logs: RequestLogs
    exports: Exports
    signals: Signals
    trouble: Callable[[], str | None]  # why nothing is processed here, None when it is
    rate_limits: RateLimits | None
    keys_in_use: KeysInUse
    entitlements: Entitlements
    operator_token: str
    note: NoteRequest

    def ready(self) -> str | None:
        """Return None when events can be taken and judged, else why not."""
        if self.acceptor.overloaded() is not None:
            return "Too many events wait to be processed."
        return self.timekeeper.behind() or self.stores.trouble() or self.trouble()


def is_operator(services: Services, secret: str) -> bool:
    """Tell whether a request shows the token that the server wrote into its data folder."""
    return hmac.compare_digest(secret.encode(), services.operator_token.encode())


def require_operator(services: Services, authorization: str | None) -> None:
    """Raise the refusal of a request that does not show this token."""
    token = read_authorization(authorization)
    if not is_operator(services, token):
        raise envelope.invalid_api_key(mask(token))
