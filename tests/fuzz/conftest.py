"""What the tests of this room talk to."""

from collections.abc import Iterator

import pytest

from tests.api.local import LocalServer, local_server
from tests.fuzz.asgi import no_errors
from tests.server import Server, serving


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Return one server for many small attempts, which logs no error."""
    origins = {"embed_origins": "https://*.example.com"}
    with no_errors(), local_server(tmp_path_factory.mktemp("local"), **origins) as opened:
        yield opened


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server that only strangers talk to: an error in its log fails the tests."""
    with serving(tmp_path_factory.mktemp("stranger")) as started:
        yield started
