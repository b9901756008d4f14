"""Opening: both stores, and what a new ledger is told at a start.

Where several processes start on one ledger at once, one waits for the other.
"""

import logging
from contextlib import ExitStack
from typing import IO, NamedTuple

import sqlalchemy as sa

from meterhouse import zones
from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.engine.client import EngineClient
from meterhouse.engine.pair import open_pair, open_usage
from meterhouse.engine.service import EngineService
from meterhouse.engine.start import EngineProcess
from meterhouse.ledger import accounts, audit, keys, known_settings, locks, partitions, zone_rules
from meterhouse.ledger.audit import Change
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.locks import Lock
from meterhouse.ledger.owner import Owner
from meterhouse.settings import SETTINGS

log = logging.getLogger("meterhouse.opening")

# What each of several processes may have for itself.
_OF_A_PROCESS = {
    *("host", "port", "uds", "data_dir", "role", "standby", "log_format", "log_level"),
    *("base_path", "trusted_proxies", "metrics", "partitions", "processes"),
}


class Opened(NamedTuple):
    """Both stores of a process, and the lock of its folder.

    `engine` is the way to the usage store, and judges where the role needs it. `first_key` is the
    secret of the test key that a first start made; `partitions` is how many the journal has.
    """

    lock: IO[str]
    ledger: Ledger
    engine: EngineClient | EngineService
    first_key: str | None
    partitions: int

    def close(self) -> None:
        """Close them, and let the folder go."""
        self.engine.close()
        self.ledger.close()
        self.lock.close()


def open_stores(
    config: Config,
    clock: Clock,
    lock: IO[str],
    process: EngineProcess | None,
    ledger: Ledger | None,
) -> Opened:
    """Open both stores; raises `StoreError` when one cannot be opened or is in use.

    `lock` is that of the folder. Without a `process` for the usage store and the judge they are in
    this process. `ledger` is one that has been opened as its owner.
    """
    with ExitStack() as opened:
        opened.enter_context(lock)
        owner = Owner.here(config.data_dir, clock.now())
        ledger = opened.enter_context(ledger or open_ledger(config.database_url, owner))
        engine = EngineClient(process) if process else _engine(config, ledger)
        opened.callback(engine.close)
        first_key = None if config.role == "worker" else _provision(ledger, config, clock)
        with ledger.write() as connection:
            number = partitions.provision(connection, config.partitions)
        _tell_zone_rules(ledger)
        _tell_settings(ledger, config, clock)
        opened.pop_all()  # they stay open until they are closed
    return Opened(lock, ledger, engine, first_key, number)


def _engine(config: Config, ledger: Ledger) -> EngineService:
    if config.role == "all":
        usage = open_pair(ledger, config.clickhouse_url, config.mismatched_stores)
    else:
        usage = open_usage(ledger, config.clickhouse_url)
    return EngineService(ledger, usage, config.deduplication_days)


def _tell_zone_rules(ledger: Ledger) -> None:
    """Log which rules of time zones are in use, and warn where they differ from the last ones."""
    version, source = zones.rules().version, zones.rules().source
    with ledger.write() as connection:
        locks.hold(connection, Lock.START)
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
    settings = config.open_settings()
    if config.role != "all":
        settings = {name: text for name, text in settings.items() if name not in _OF_A_PROCESS}
    with ledger.write() as connection:
        locks.hold(connection, Lock.START)
        changed = known_settings.use(connection, settings)
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
        locks.hold(connection, Lock.START)
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
