"""The composition root: builds everything from a Config and a Clock, and owns start and stop.

Start: open both stores, make accounts and keys, finish what a crash left behind.
Stop, the other way round: finish the requests in flight, drain what is pending, close both stores.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any

import sqlalchemy as sa

from meterhouse import limits, zones
from meterhouse.api.authentication import Authentication
from meterhouse.api.embed_tokens import EmbedTokens
from meterhouse.api.gate import Gate
from meterhouse.api.idempotency import KeysInUse
from meterhouse.api.questions import Questions
from meterhouse.api.rate_limits import RateLimits
from meterhouse.api.routes import ROUTES, Routes
from meterhouse.api.services import Services
from meterhouse.api.sessions import Sessions
from meterhouse.background import Background
from meterhouse.clock import Clock
from meterhouse.config import SETTINGS, Config
from meterhouse.dashboard.client import Asgi
from meterhouse.dashboard.client import Scope as AsgiScope
from meterhouse.dashboard.site import Dashboard
from meterhouse.delivery.attempt import Sender
from meterhouse.delivery.broadcast import Broadcast
from meterhouse.delivery.deliver import Deliverer
from meterhouse.engine.client import EngineClient
from meterhouse.engine.pair import open_pair
from meterhouse.engine.service import EngineService
from meterhouse.engine.start import EngineProcess
from meterhouse.folder import SERVER_FILE, lock_folder, write_server_file
from meterhouse.identifiers.index import Identifiers
from meterhouse.identifiers.load import Loader
from meterhouse.ingest.accept import Acceptor
from meterhouse.ingest.claims import LocalClaims
from meterhouse.jobs.erase import Eraser
from meterhouse.jobs.exports import Exports
from meterhouse.jobs.key_uses import KeyUses
from meterhouse.jobs.owned import NAMES, WOKEN, JobName, Jobs
from meterhouse.jobs.rebuild import Rebuilder
from meterhouse.jobs.report import Reporter
from meterhouse.jobs.request_logs import RequestLogs
from meterhouse.jobs.resend import Resender
from meterhouse.jobs.retain import Retention
from meterhouse.jobs.snapshot import Snapshots
from meterhouse.jobs.verifications import Verifications
from meterhouse.jobs.verify import Verification
from meterhouse.ledger import accounts, audit, journal, keys, known_settings, zone_rules
from meterhouse.ledger.audit import Change
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.owner import Owner
from meterhouse.ledger.signals import Signals
from meterhouse.logs import NoteRequest
from meterhouse.masking import OPERATOR_TOKEN
from meterhouse.metrics import Metrics
from meterhouse.processing.freshness import Freshness
from meterhouse.processing.partitions import Partitions
from meterhouse.processing.progress import LocalProgress
from meterhouse.processing.stillness import Pauses, alone
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.processing.under_way import UnderWay
from meterhouse.signing import Signing
from meterhouse.stores import Stores
from meterhouse.wire.event_id import EventIds
from meterhouse.wire.ids import new_token

log = logging.getLogger("meterhouse.app")

_EXPORTS_FOLDER = "exports"
_PAGES = ("/dashboard/", "/embed/")


class Meterhouse:
    """One running server: `asgi` answers requests between `start()` and `stop()`."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        note: NoteRequest,
        process: EngineProcess | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """Open both stores; raises `StoreError` when one cannot be opened or is in use.

        `process` is one for the usage store and the judge, which has the lock of the folder.
        Without one they are in this process, which locks the folder. `ledger` is one that has been
        opened as its owner.
        """
        self.config = config
        with ExitStack() as opened:
            self._lock = process.lock if process else lock_folder(config.data_dir)
            opened.enter_context(self._lock)
            owner = Owner.here(config.data_dir, clock.now())
            self.ledger = opened.enter_context(ledger or open_ledger(config.database_url, owner))
            self._engine = EngineClient(process) if process else _engine(config, self.ledger)
            opened.callback(self._engine.close)
            self.first_key = _provision(self.ledger, config, clock)
            _tell_zone_rules(self.ledger)
            _tell_settings(self.ledger, config, clock)
            with self.ledger.read() as connection:
                event_ids = EventIds(journal.read_id_key(connection))
            opened.pop_all()  # they stay open until `stop`
        self._stores = Stores(self.ledger, self._engine.usage)
        signing = Signing(self._stores, clock)
        metrics = Metrics()
        self._timekeeper = timekeeper = Timekeeper(self._stores, clock)
        identifiers = Identifiers(config.deduplication_days)
        self._acceptor = Acceptor(
            self._stores, LocalClaims(identifiers), timekeeper, metrics, self._committed
        )
        self._loader = Loader(self._stores, identifiers, timekeeper, metrics)
        self._processor = Partitions(
            self._stores,
            self._engine,
            identifiers,
            self._loader,
            metrics,
            Pauses(self._stores),
            self._acceptor,
        )
        progress = LocalProgress(self._stores, self._processor)
        self._under_way = UnderWay(clock)
        self._freshness = Freshness(progress, self._under_way, clock)
        self._still = alone(self._processor.still)
        self._writing_months = asyncio.Lock()
        self.signals = Signals(self.ledger)
        ask = partial(self.signals.send, "logs")
        self._broadcast = Broadcast(self._stores, clock, metrics, signing, ask)
        self._request_logs = RequestLogs(
            self._stores, metrics, self._broadcast.tell_logs, self._broadcast.hears_logs
        )
        self.jobs = Jobs(self._makers(identifiers, clock, metrics))
        self.signals.on("logs", self._request_logs.hurry)
        self._stores.listen(lambda: self.jobs.wake("deliver"))
        self.signals.on("outbox", lambda: self.jobs.wake("deliver"))
        for name in WOKEN:
            self.signals.on(name, partial(self.jobs.wake, name))
        self._snapshots = Snapshots(self._stores, self._unchanging, config)
        self._key_uses = KeyUses(self._stores)
        self._exports = Exports(self._stores, config.data_dir / _EXPORTS_FOLDER)
        self.services = Services(
            config,
            clock,
            timekeeper,
            metrics,
            self._stores,
            Questions(self._stores),
            identifiers,
            self._acceptor,
            progress,
            self._freshness,
            Verifications(
                Verification(self._stores, self._still, clock, config.deduplication_days),
                self._stores,
            ),
            self._snapshots,
            Authentication(self._stores, clock, self._key_uses),
            Sessions(signing),
            EmbedTokens(signing),
            event_ids,
            self._broadcast,
            self._request_logs,
            self._exports,
            self.signals,
            RateLimits(config.rate_limits, clock) if config.limits == "stripe" else None,
            KeysInUse(),
            config.operator_token or new_token(OPERATOR_TOKEN),
            note,
        )
        gate = Gate(self.services, Routes(ROUTES))
        self.dashboard = Dashboard(
            gate,
            self.services.operator_token,
            self._stores,
            clock,
            signing,
            config,
        )
        self.asgi = below(config.base_path, compose(gate, self.dashboard))

    def _makers(
        self, identifiers: Identifiers, clock: Clock, metrics: Metrics
    ) -> dict[JobName, Callable[[Stores], Background]]:
        """Tell how each job is built that writes by some stores."""
        config, timekeeper, settle = self.config, self._timekeeper, self._processor.settle
        receiving = self._under_way.receiving
        return {
            "deliver": lambda stores: Deliverer(
                stores, clock, timekeeper, metrics, Sender(config, clock)
            ),
            "report": lambda stores: Reporter(stores, clock, settle),
            "retain": lambda stores: Retention(stores, identifiers, timekeeper, config.audit_days),
            "resend": lambda stores: Resender(
                stores, identifiers, settle, receiving, self._sent, clock, timekeeper, metrics
            ),
            "rebuild": lambda stores: Rebuilder(
                stores, settle, self._still, clock, self._writing_months
            ),
            "erase": lambda stores: Eraser(
                stores, settle, self._still, lambda: self.signals.send("rebuild"), timekeeper
            ),
        }

    def _committed(self, _: int) -> None:
        self._processor.wake()

    def _sent(self, events: int) -> None:
        self._acceptor.journal_events += events
        self._processor.wake()

    @asynccontextmanager
    async def _unchanging(self) -> AsyncIterator[None]:
        async with self._writing_months, self._processor.still():
            yield

    async def start(self) -> None:
        """Finish what a crash left behind, then take events."""
        await self._timekeeper.open()
        await self._snapshots.clear()
        await self.dashboard.sessions.start()
        await self._processor.start()
        await self._broadcast.start()
        self._timekeeper.start()
        self._loader.start()
        self._freshness.start()
        self._request_logs.start()
        self.signals.start()
        for name in NAMES:
            self.jobs.start(name, self._stores)
        self._exports.start()
        self._key_uses.start()

    async def stop(self) -> None:
        """Drain what is pending and close both stores; the requests have ended before."""
        await self.services.verification.stop()
        await self._broadcast.stop()
        await self._request_logs.stop()
        await self._timekeeper.stop()
        await self._loader.stop()
        await self._freshness.stop()
        await self.jobs.stop_all()
        await self.signals.stop()
        await self._snapshots.drop()
        await self._key_uses.stop()
        await self._acceptor.drain()
        await self._processor.stop(limits.STOP_DRAIN_SECONDS_MAX)
        self._stores.close()
        self._engine.close()
        self.ledger.close()
        (self.config.data_dir / SERVER_FILE).unlink(missing_ok=True)
        self._lock.close()

    def write_server_file(self, url: str) -> None:
        """Write where the server listens, and the operator's token, for the command line."""
        write_server_file(self.config.data_dir, url, self.services.operator_token)


def compose(gate: Asgi, dashboard: Asgi) -> Asgi:
    """Return the whole program: pages for people below two paths, the API everywhere else."""

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


def _engine(config: Config, ledger: Ledger) -> EngineService:
    usage = open_pair(ledger, config.clickhouse_url, config.mismatched_stores)
    return EngineService(ledger, usage, config.deduplication_days)


def _tell_zone_rules(ledger: Ledger) -> None:
    """Log which rules of time zones are in use, and warn where they differ from the last ones."""
    version, source = zones.rules().version, zones.rules().source
    with ledger.write() as connection:
        before = zone_rules.use(connection, version)
    log.info("days of time zones are cut by rules %s (%s)", version, source)
    if before not in (None, version):
        log.warning(
            "The rules of time zones are %s here (%s), and were %s at the start before, of this "
            "node or of another: days of some zones may begin at other instants. All nodes should "
            "have the same.",
            version,
            source,
            before,
        )


def _tell_settings(ledger: Ledger, config: Config, clock: Clock) -> None:
    """Write into the audit log which settings are others than at the start before."""
    with ledger.write() as connection:
        changed = known_settings.use(connection, config.open_settings())
        if changed:
            told = {name: _told(name, *values) for name, values in changed.items()}
            audit.note(connection, audit.system(clock.now()), "settings.changed", None, None, told)


def _told(name: str, old: str, new: str) -> Change:
    """Return the values of a setting that is one of few, or a number."""
    setting = next(one for one in SETTINGS if one.name == name)
    return Change(old, new) if setting.choices or (old + new).isdigit() else Change()


def _provision(ledger: Ledger, config: Config, clock: Clock) -> str | None:
    """Make the default account and the keys that the configuration names.

    Returns the secret of the test key that a first start without configured keys makes.
    """
    now = clock.now()

    def work(connection: sa.Connection) -> str | None:
        keys.provision(connection, config.api_keys, now)
        if config.api_keys or keys.list_keys(connection):
            return None
        account = accounts.default_account(connection, now)
        test, _ = accounts.scopes_of(connection, account.id)
        key, secret = keys.create_key(connection, test, now, name="first start")
        about = keys.told(key)
        audit.note(connection, audit.system(now), "api_key.created", test.id, key.id, about)
        return secret

    with ledger.write() as connection:
        return work(connection)
