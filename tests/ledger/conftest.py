"""A ledger on each database that it supports, fresh for every test."""

from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest

from meterhouse.ledger.engine import Ledger, open_ledger
from tests.blank import blank_ledger
from tests.postgresql import PostgreSQL


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database; of a new ledger's, where a test asks for a ledger alone.

    A test that changes more than rows asks for both.
    """
    server: PostgreSQL | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
    if "url" in signature(request.function).parameters:
        return server.empty() if server else f"sqlite:///{tmp_path / 'ledger.db'}"
    return server.blank() if server else blank_ledger(tmp_path)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with open_ledger(url) as opened:
        yield opened
