from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.house import House, housing


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with housing(tmp_path) as opened:
        yield opened
