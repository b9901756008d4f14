"""One usage store for the tests of this room, and books of its own for every test.

The tests of what the store itself does run on a double of a ClickHouse server, too, and those of
rows that belong together on one of a cluster with two shards.

The engine serves one folder in a process, so the store is shared, and closes after the room's
last test.
"""

from collections.abc import Iterator

import pytest

from meterhouse.metering.model import Scope
from meterhouse.usage.store import UsageStore
from tests.clickhouse import usage_store
from tests.clickhouse_cluster import ClusterDouble, clickhouse_cluster
from tests.usage.samples import forget_slots, new_scope

_KINDS = {
    "tests.usage.test_store": ["embedded", "server"],
    "tests.usage.test_erase": ["embedded", "cluster"],
    "tests.usage.test_overview": ["embedded", "cluster"],
    "tests.usage.test_periods": ["embedded", "cluster"],
    "tests.usage.test_slots": ["embedded", "cluster"],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let some tests run on several kinds of stores."""
    kinds = _KINDS.get(metafunc.module.__name__)
    if kinds and "store" in metafunc.fixturenames:
        metafunc.parametrize("store", kinds, indirect=True, scope="package")


@pytest.fixture(scope="package")
def two_shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterDouble]:
    """Run the double of a cluster with two shards."""
    with clickhouse_cluster(tmp_path_factory.mktemp("cluster"), shards=2, replicas=1) as started:
        yield started


@pytest.fixture(scope="package")
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UsageStore]:
    kind = getattr(request, "param", "embedded")
    if kind == "cluster":
        double: ClusterDouble = request.getfixturevalue("two_shards")
        opened = UsageStore.open(double.url)
        yield opened
        opened.close()
        return
    folder = tmp_path_factory.mktemp("usage") / "a folder"
    with usage_store(request, folder, server=kind == "server") as opened:
        yield opened


@pytest.fixture
def no_slots(store: UsageStore) -> None:
    forget_slots(store)


@pytest.fixture
def scope() -> Scope:
    return new_scope()
