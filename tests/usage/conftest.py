"""One usage store for the tests of this room, and books of its own for every test.

The tests of what the store itself does run on a double of a ClickHouse server, too.

The engine serves one folder in a process, so the store is shared, and closes after the room's
last test.
"""

from collections.abc import Iterator

import pytest

from meterhouse.metering.model import Scope
from meterhouse.usage.store import UsageStore
from tests.clickhouse import usage_store
from tests.usage.samples import forget_slots, new_scope


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let the tests of the store run on both kinds."""
    if "store" in metafunc.fixturenames and metafunc.module.__name__ == "tests.usage.test_store":
        metafunc.parametrize("store", ["embedded", "server"], indirect=True, scope="package")


@pytest.fixture(scope="package")
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UsageStore]:
    server = getattr(request, "param", "embedded") == "server"
    folder = tmp_path_factory.mktemp("usage") / "a folder"
    with usage_store(request, folder, server=server) as opened:
        yield opened


@pytest.fixture
def no_slots(store: UsageStore) -> None:
    forget_slots(store)


@pytest.fixture
def scope() -> Scope:
    return new_scope()
