"""What tests of several rooms share."""

import gc
import os
import sys
from collections.abc import Iterator
from itertools import islice

import httpx
import pytest
from argon2 import PasswordHasher
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import settings

from meterhouse.identifiers import filter as filters
from meterhouse.ledger import users
from tests import once
from tests.clickhouse import Double, clickhouse
from tests.postgresql import PostgreSQL, postgresql
from tests.server import Server, serving

# How long an example takes says more about the machine than about the code. On CI the examples are
# the same in every run; anywhere else they are new, and a failure prints how to repeat it.
settings.register_profile("meterhouse", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("meterhouse"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "meterhouse")

# Else it gives up after five seconds, which a server that shares a busy core may take to answer.
vars(DEFAULT_TIMEOUT_CONFIG).update(vars(httpx.Timeout(60)))

# A server that a test starts is not to compile the program anew, on no machine.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Of a part of the filter of identifiers. A server claims 64 MB for one when it starts.
FILTER_WORDS = 2**17

# They take longest, so they begin first: then no process is left with one of them at the end.
LONG = (
    *("tests/cluster/test_chaos.py", "tests/crash/test_crash.py", "tests/crash/test_faults.py"),
    *("tests/model/", "tests/api/test_machine_clock.py", "tests/crash/"),
    *("tests/test_readme.py", "tests/test_supervise.py", "tests/test_roles.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each process that shares the tests begin with some of the longest.

    At first each has an equal part of all, one after the other.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    of_each: list[list[pytest.Item]] = [[] for _ in range(processes)]
    ranks = {item: _rank(item) for item in items}
    for item in sorted(items, key=lambda item: ranks[item]):
        if ranks[item] < len(LONG):
            of_each[ranks[item] % processes].append(item)
    others = (item for item in items if ranks[item] == len(LONG))
    part = -(-len(items) // processes)
    items[:] = [
        one for first in of_each for one in (*first, *islice(others, max(part - len(first), 0)))
    ]


def _rank(item: pytest.Item) -> int:
    begins = (number for number, path in enumerate(LONG) if item.nodeid.startswith(path))
    return next(begins, len(LONG))


def pytest_collection_finish() -> None:
    """Keep the collector from what has been imported and collected.

    It looks at everything only once enough is new beside what is old. So it would leave alone what
    tests drop, such as filters of 64 MB, until that is gigabytes.
    """
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their parameter: what packs them may write the time into them.

    The processes that share the tests have to call each of them by the same name.
    """
    return argname if isinstance(val, bytes) and not val.isascii() else None


@pytest.fixture(scope="session", autouse=True)
def _cheap_servers() -> Iterator[None]:
    """Let servers within this process start with a small filter, and share what they can."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filters, "_WORDS", FILTER_WORDS)
        once.share(patch)
        yield


@pytest.fixture
def cheap_hashes() -> Iterator[None]:
    """Let a hash of a password take no time; it is to take a fifth of a second of a core."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "_hasher", hasher)
        patch.setattr(users, "_NOBODY", users._of_nobody())
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server with default settings for all tests that can share it."""
    with serving(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """Run one real PostgreSQL server."""
    with postgresql() as started:
        yield started


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    """Run one double of a ClickHouse server."""
    with clickhouse(tmp_path_factory.mktemp("clickhouse")) as started:
        yield started
