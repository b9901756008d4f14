import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.jobs.key_uses import KeyUses
from meterhouse.ledger import accounts, keys
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.stores import Stores
from tests.blank import blank_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(blank_ledger(tmp_path)) as opened:
        yield opened


@pytest.fixture
def key_uses(ledger: Ledger) -> Iterator[KeyUses]:
    stores = Stores(ledger, lambda *_: None)
    yield KeyUses(stores)
    stores.close()


def last_uses(ledger: Ledger) -> list[int | None]:
    with ledger.read() as connection:
        return [key.last_used_at for key in keys.list_keys(connection)]


def test_uses_are_written_in_time_and_at_the_end(
    ledger: Ledger, key_uses: KeyUses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "API_KEY_USES_SECONDS", 0.01)
    monkeypatch.setattr(limits, "API_KEY_USES_ROWS_MAX", 1)
    with ledger.write() as connection:
        test, _ = accounts.scopes_of(connection, accounts.default_account(connection, 1).id)
        first, second, _ = [keys.create_key(connection, test, 1)[0].id for _ in range(3)]

    async def work() -> None:
        key_uses.start()
        key_uses.note(first, 5)
        key_uses.note(second, 6)
        async with asyncio.timeout(60):
            while last_uses(ledger) != [None, 6, 5]:  # noqa: ASYNC110 - the ledger tells nobody
                await asyncio.sleep(0.01)
        key_uses.note(first, 7)
        await key_uses.stop()
        assert last_uses(ledger) == [None, 6, 7]

    asyncio.run(work())


def test_what_could_not_be_written_is_written_later(
    key_uses: KeyUses, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        key_uses.note("key_2", 6)  # which is used meanwhile
        raise StoreError("The ledger does not answer.")

    key_uses.note("key_1", 5)
    key_uses.note("key_2", 5)
    monkeypatch.setattr(key_uses._stores, "write", fail)
    asyncio.run(key_uses.write())
    assert key_uses._used == {"key_1": 5, "key_2": 6}
