from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.services import Services, housing


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with housing(tmp_path) as opened:
        yield opened
