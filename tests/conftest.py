"""What tests of several rooms share."""

from collections.abc import Iterator

import pytest

from tests.server import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server with default settings for all tests that can share it."""
    with serving(tmp_path_factory.mktemp("server")) as started:
        yield started
