"""The pipeline on real stores, with a clock that stands still, and what the tests send into it."""

import asyncio
import fcntl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import pytest
import sqlalchemy as sa

from meterhouse.clock import ManualClock
from meterhouse.engine.service import EngineService
from meterhouse.identifiers.filter import Filter
from meterhouse.identifiers.index import Identifiers, Share
from meterhouse.identifiers.load import Loader
from meterhouse.ingest.accept import Acceptor
from meterhouse.ingest.claims import LocalClaims
from meterhouse.ingest.commit import StreamSubmission, Submission
from meterhouse.jobs.retain import Retention
from meterhouse.jobs.verify import Verification
from meterhouse.ledger import accounts, customers, journal, meters, tallies
from meterhouse.ledger.customers import Customer
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.idempotency import Record
from meterhouse.limits import IDEMPOTENCY_V1_HOURS
from meterhouse.metering.identifier import Claims
from meterhouse.metering.model import Meter, MeterEvent, Scope
from meterhouse.metrics import Metrics
from meterhouse.processing.partitions import Partitions
from meterhouse.processing.process import Processor
from meterhouse.processing.stillness import Pauses, alone
from meterhouse.stores import Stores
from meterhouse.usage import block
from meterhouse.usage.store import UsageStore
from tests.blank import blank_ledger
from tests.clickhouse import usage_store
from tests.metering.samples import HOUR, NOW, event, meter
from tests.postgresql import PostgreSQL
from tests.usage.samples import writer

T = TypeVar("T")

CUSTOMER = "cus_1"
DAYS = 35


def put_claims(pipeline: "Pipeline", day: int, *digests: bytes) -> None:
    """Put claims into the usage store."""
    positions = list(range(1, len(digests) + 1))
    store = pipeline.engine._usage
    for one in block.identifiers(Claims(list(digests), positions, [day] * len(digests))):
        store.insert(one.destination, one.body, f"{day} {positions} {digests[0].hex()}")


def new_identifiers() -> Identifiers:
    """Make the index of a process whose usage store had nothing when it started."""
    made = Identifiers(DAYS)
    for share in made.unloaded().values():
        made.know(share, Filter())
    return made


class Pipeline:
    """Acceptor, processor, retention and verification on two stores.

    The default account has an active meter `calls` (mtr_1) and a customer (cus_1) in test mode;
    they are made unless the stores are `used`.
    """

    def __init__(self, stores: Stores, engine: EngineService, *, used: bool = False) -> None:
        self.stores = stores
        self.clock = ManualClock(NOW)
        self.metrics = Metrics()
        self.engine = engine
        self.identifiers = new_identifiers()
        self.loader = Loader(stores, self.identifiers, self.clock, self.metrics)
        self.acceptor = Acceptor(
            stores, LocalClaims(self.identifiers), self.clock, self.metrics, self._committed
        )
        self.processor = Partitions(
            stores,
            engine,
            self.identifiers,
            self.loader,
            self.metrics,
            Pauses(stores),
            self.acceptor,
        )
        self.retention = Retention(stores, self.identifiers, self.clock, audit_days=400)
        self.verification = Verification(stores, alone(self.processor.still), self.clock, DAYS)
        with stores._ledger.write() as connection:
            account = accounts.default_account(connection, NOW)
            self.scope, self.live = accounts.scopes_of(connection, account.id)
            if used:
                return
            create_meter(connection, self.scope)
            customers.create_customer(connection, customer(self.scope))

    def _committed(self, _: int) -> None:
        self.processor.wake()

    @property
    def only(self) -> Processor:
        """The one that does the work."""
        return self.processor._processor

    def restarted(self) -> "Pipeline":
        """Build on the same stores what a new process would: nothing in memory is left."""
        engine = EngineService(self.stores._ledger, self.engine._usage, DAYS)
        again = Pipeline(self.stores, engine, used=True)
        again.clock.set(self.clock.now())
        return again

    def run(self, body: Callable[[], Awaitable[T]]) -> T:
        """Run a test's body with the processor at work."""

        async def whole() -> T:
            self.identifiers._shares = {0: Share(1)}  # a start knows nothing of what is stored
            await self.loader.load()
            await self.processor.start()
            try:
                return await body()
            finally:
                await self.processor.stop(seconds=5)

        return asyncio.run(whole())

    async def verify(self) -> dict[str, Any]:
        """Run a verification to its end."""
        self.verification.start()
        assert self.verification._task is not None
        await self.verification._task
        return self.verification.state()

    def books(self) -> dict[str, int]:
        """Read the tallies of test mode, and what is pending; rejections by their code."""
        with self.stores._ledger.read() as connection:
            told = {
                line.code or line.outcome: events
                for line, events in tallies.read(connection).items()
                if line.scope == self.scope.id
            }
            return told | {"pending": journal.pending_by_scope(connection).get(self.scope.id, 0)}

    def rows(self, table: sa.Table) -> int:
        """Count the rows of a table of the ledger."""
        with self.stores._ledger.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()

    def stored(self) -> int:
        """Count the accepted events that the usage store has."""
        counts = self.engine._usage.counts()
        return sum(count.accepted for count in counts.values())

    def claims(self) -> int:
        """Count the claims on identifiers that the usage store has."""
        store = self.engine._usage
        return sum(claims for _, claims in store.claim_days(0))

    def tamper(self, statement: str) -> None:
        """Run a statement on the usage store that no code of Meterhouse would run."""
        writer(self.engine._usage).command(statement)


def create_meter(connection: sa.Connection, scope: Scope, **changes: Any) -> Meter:
    created = meters.create_meter(connection, meter(scope=scope.id, **changes))
    assert created is not None
    return created


def customer(scope: Scope, **changes: Any) -> Customer:
    values: dict[str, Any] = {
        "id": CUSTOMER,
        "scope": scope.id,
        "email": None,
        "metadata": {},
        "details": {},
        "created": NOW,
        "deleted_at": None,
    }
    return Customer(**(values | changes))


def write_journal(pipeline: "Pipeline", *events: MeterEvent, partition: int = 0) -> None:
    """Append a row of events to the journal."""
    with pipeline.stores._ledger.write() as connection:
        position = journal.reserve(connection, len(events))
        journal.append(connection, position, [journal.pack(events, partition)])


async def stream(pipeline: "Pipeline", *events: MeterEvent) -> None:
    """Submit events of one scope as a stream does."""
    sent = StreamSubmission(events[0].scope, pipeline.acceptor.pack(events), None)
    assert await pipeline.acceptor.accept(sent) is None


def submission(
    identifier: str,
    value: str = "1",
    *,
    key: str | None = None,
    digits: bool = True,
    body: str = "",
    **changes: Any,
) -> Submission:
    """Make a submission of test mode, whose scope is number 1; `body` tells requests apart."""
    payload = {"stripe_customer_id": CUSTOMER, "value": value}
    made = event(**({"identifier": identifier, "payload": payload} | changes))
    record = None
    if key is not None:
        asked = (body or identifier).encode()
        expires_at = made.received_at + IDEMPOTENCY_V1_HOURS * HOUR
        record = Record(made.scope, "v1", key, asked, "req_1", 200, b"{}", expires_at)
    return Submission(made, digits, record)


@pytest.fixture(scope="package", params=["embedded", "servers"])
def usage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UsageStore]:
    server = request.param == "servers"
    with usage_store(request, tmp_path_factory.mktemp("usage"), server=server) as opened:
        yield opened


@pytest.fixture
def pipeline(
    usage: UsageStore, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Pipeline]:
    for table in ("events", "identifiers", "rejected_events", "duplicate_events", "usage_slots"):
        writer(usage).command(f"TRUNCATE TABLE {table}")
    if usage.path is not None:
        url = blank_ledger(tmp_path)
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql_server")
        url = server.blank()
    with open_ledger(url) as ledger:
        engine = EngineService(ledger, usage, DAYS)
        stores = Stores(ledger, engine.usage)
        yield Pipeline(stores, engine)
        stores.close()


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[IO[str]]:
    with (tmp_path / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
