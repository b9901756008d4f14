"""What tests of several rooms share."""

import gc
import os
import sys
from collections.abc import Iterator

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
LONG = ("tests/crash/", "tests/model/", "tests/test_readme.py", "tests/api/test_machine_clock.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


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
