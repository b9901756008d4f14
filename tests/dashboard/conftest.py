from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.local import LocalServer, local_server


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalServer]:
    with local_server(tmp_path) as opened:
        yield opened
