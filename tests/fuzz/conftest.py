"""What the tests of this room talk to."""

from collections.abc import Iterator

import pytest

from tests.api.house import House, housing
from tests.fuzz.asgi import no_errors


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Return one house for many small attempts, which logs no error; pages of others may ask it."""
    origins = {"embed_origins": "https://*.example.com"}
    with no_errors(), housing(tmp_path_factory.mktemp("house"), **origins) as opened:
        yield opened
