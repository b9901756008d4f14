"""One usage store for the tests of this room, and books of its own for every test.

The engine serves one folder in a process, so the store is shared, and closes after the room's
last test.
"""

from collections.abc import Iterator

import pytest

from meterhouse.metering.model import Scope
from meterhouse.usage.store import UsageStore
from tests.usage.samples import forget_slots, new_scope


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UsageStore]:
    opened = UsageStore.open(f"chdb://{tmp_path_factory.mktemp('usage') / 'a folder'}")
    yield opened
    opened.close()


@pytest.fixture
def no_slots(store: UsageStore) -> None:
    forget_slots(store)


@pytest.fixture
def scope() -> Scope:
    return new_scope()
