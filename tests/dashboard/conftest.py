from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.local import LocalServer, kept_store, passing_server


@pytest.fixture(scope="package", autouse=True)
def _kept_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the servers within this process share a usage store."""
    with kept_store(tmp_path_factory.mktemp("usage")):
        yield


@pytest.fixture(autouse=True)
def _cheap_hashes(cheap_hashes: None) -> None:
    """Let everybody sign in quickly."""


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalServer]:
    with passing_server(tmp_path) as opened:
        yield opened
