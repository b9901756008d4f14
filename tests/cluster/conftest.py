"""Two nodes that answer and one that processes, for the tests that can share them."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clickhouse import Double
from tests.cluster.samples import Cluster
from tests.postgresql import PostgreSQL
from tests.server import serving
from tests.stores import new_stores


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    postgresql_server: PostgreSQL,
    clickhouse_server: Double,
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    stores = {
        **new_stores(postgresql_server, clickhouse_server),
        "private_destinations": "open",
    }
    with ExitStack() as nodes:
        one, other, worker = [
            nodes.enter_context(serving(folder / name, role=name.partition("-")[0], **stores))
            for name in ("api-1", "api-2", "worker-1")
        ]
        yield Cluster(one, other, worker)
