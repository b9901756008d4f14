"""What the api room works with: everything that `app` has built, in one value."""

from dataclasses import dataclass

from meterhouse.api.authentication import Authentication
from meterhouse.api.idempotency import KeysInUse
from meterhouse.api.rate_limits import RateLimits
from meterhouse.api.sessions import Sessions
from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.logs import NoteRequest
from meterhouse.metrics import Metrics
from meterhouse.pipeline.accept import Acceptor
from meterhouse.pipeline.process import Processor
from meterhouse.pipeline.stores import Stores
from meterhouse.pipeline.verify import Verification


@dataclass(frozen=True, slots=True)
class House:
    """The parts that handlers call; `rate_limits` is None in the limits profile `off`."""

    config: Config
    clock: Clock
    metrics: Metrics
    stores: Stores
    acceptor: Acceptor
    processor: Processor
    verification: Verification
    authentication: Authentication
    sessions: Sessions
    rate_limits: RateLimits | None
    keys_in_use: KeysInUse
    operator_token: str
    note: NoteRequest

    def ready(self) -> str | None:
        """Return None when events can be taken, else why not."""
        if self.acceptor.overloaded() is not None:
            return "too many events wait to be processed"
        return None
