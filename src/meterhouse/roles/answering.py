"""What answers: the API and the pages, and what they need beside the requests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from meterhouse.api.authentication import Authentication
from meterhouse.api.embed_tokens import EmbedTokens
from meterhouse.api.entitlements import Entitlements
from meterhouse.api.gate import Gate
from meterhouse.api.idempotency import KeysInUse
from meterhouse.api.questions import Questions
from meterhouse.api.rate_limits import RateLimits
from meterhouse.api.routes import ROUTES, Routes
from meterhouse.api.services import Services
from meterhouse.api.sessions import Sessions
from meterhouse.dashboard.client import Asgi
from meterhouse.dashboard.client import Scope as AsgiScope
from meterhouse.dashboard.site import Dashboard
from meterhouse.delivery.broadcast import Broadcast
from meterhouse.ingest.accept import Acceptor
from meterhouse.ingest.claims import LocalClaims, SharedClaims
from meterhouse.invoicing.turn import Terms
from meterhouse.jobs.exports import Exports
from meterhouse.jobs.key_uses import KeyUses
from meterhouse.jobs.request_logs import RequestLogs
from meterhouse.jobs.snapshot import Snapshots
from meterhouse.jobs.verifications import Verifications
from meterhouse.jobs.verify import Verification
from meterhouse.ledger import journal
from meterhouse.logs import NoteRequest
from meterhouse.masking import OPERATOR_TOKEN
from meterhouse.processing.freshness import Freshness
from meterhouse.processing.progress import Watched
from meterhouse.processing.stillness import Still
from meterhouse.roles.common import Common
from meterhouse.signing import Signing
from meterhouse.wire.event_id import EventIds
from meterhouse.wire.ids import new_token

_EXPORTS_FOLDER = "exports"
_PAGES = ("/dashboard/", "/embed/", "/invoice/")


def accepting(common: Common, on_commit: Callable[[int], None]) -> Acceptor:
    """Return what takes events; `on_commit` is called when some are on disk."""
    return Acceptor(
        common.writing,
        SharedClaims(common.stores, common.identifiers.holds)
        if common.shared
        else LocalClaims(common.identifiers),
        common.timekeeper,
        common.metrics,
        on_commit,
        common.opened.partitions,
    )


class Work(NamedTuple):
    """What answers knows of what works, wherever that is.

    `progress` tells how far what was acknowledged can be read, `trouble` why nothing of this
    process is processed. `still` keeps both stores as they are, `writing_months` what a rebuild in
    this process writes. `nodes` is how many processes answer.
    """

    progress: Watched
    trouble: Callable[[], str | None]
    still: Still
    writing_months: asyncio.Lock
    nodes: Callable[[], int]


class Answering:
    """The program that answers, as `asgi`, from `start()` to `stop()`."""

    def __init__(self, common: Common, acceptor: Acceptor, work: Work, note: NoteRequest) -> None:
        config, clock, stores, metrics = common.config, common.clock, common.writing, common.metrics
        signing = Signing(stores, clock)
        self._acceptor = acceptor
        self._work = work
        self._freshness = Freshness(work.progress, common.under_way, clock)
        self._broadcast = Broadcast(stores, clock, metrics, signing, common.sends("logs"))
        self.request_logs = RequestLogs(
            stores, metrics, self._broadcast.tell_logs, self._broadcast.hears_logs
        )
        common.signals.on("logs", self.request_logs.hurry)
        self._snapshots = Snapshots(stores, self._unchanging, config)
        self.key_uses = KeyUses(stores)
        self._exports = Exports(stores, config.data_dir / _EXPORTS_FOLDER)
        with common.opened.ledger.read() as connection:
            event_ids = EventIds(journal.read_id_key(connection))
        rates = config.rate_limits if config.limits == "stripe" else None
        self.services = Services(
            config,
            clock,
            common.timekeeper,
            metrics,
            stores,
            Questions(stores),
            common.identifiers,
            acceptor,
            work.progress,
            self._freshness,
            Verifications(
                Verification(stores, work.still, clock, config.deduplication_days), stores
            ),
            self._snapshots,
            Authentication(stores, clock, self.key_uses),
            Sessions(signing),
            EmbedTokens(signing),
            event_ids,
            self._broadcast,
            self.request_logs,
            self._exports,
            common.signals,
            work.trouble,
            None if rates is None else RateLimits(rates, clock, work.nodes),
            KeysInUse(),
            Entitlements(stores, self._freshness, clock, Terms.of(config)),
            config.operator_token or new_token(OPERATOR_TOKEN),
            note,
        )
        gate = Gate(self.services, Routes(ROUTES))
        self.dashboard = Dashboard(
            gate, self.services.operator_token, stores, clock, signing, config
        )
        self.asgi = below(config.base_path, compose(gate, self.dashboard))

    @asynccontextmanager
    async def _unchanging(self) -> AsyncIterator[None]:
        async with self._work.writing_months, self._work.still():
            yield

    async def start(self) -> None:
        """Begin what goes on beside the requests."""
        await self._snapshots.clear()
        await self.dashboard.sessions.start()
        await self._broadcast.start()
        self._freshness.start()
        self.request_logs.start()
        self._exports.start()
        self.key_uses.start()

    async def stop(self) -> None:
        """End it, and commit what waits; the requests have ended before."""
        await self.services.entitlements.stop()
        await self.services.verification.stop()
        await self._broadcast.stop()
        await self.request_logs.stop()
        await self._freshness.stop()
        await self._snapshots.drop()
        await self.key_uses.stop()
        await self._acceptor.drain()


def compose(gate: Asgi, dashboard: Asgi) -> Asgi:
    """Return the whole program: pages for people below three paths, the API everywhere else."""

    async def answer(scope: AsgiScope, receive: Any, send: Any) -> None:
        pages = scope["type"] == "http" and _is_page(scope["path"])
        await (dashboard if pages else gate)(scope, receive, send)

    return answer


def below(base: str, asgi: Asgi) -> Asgi:
    """Return a program that answers below the path `base` too, for a proxy that leaves it there."""
    if not base:
        return asgi

    async def answer(scope: AsgiScope, receive: Any, send: Any) -> None:
        path: str = scope["path"]
        if path == base or path.startswith(base + "/"):
            raw: bytes = scope.get("raw_path") or path.encode()
            scope = {**scope, "path": path[len(base) :], "raw_path": raw[len(base) :]}
        await asgi(scope, receive, send)

    return answer


def _is_page(path: str) -> bool:
    return path == "/dashboard" or path.startswith(_PAGES)
