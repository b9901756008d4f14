"""Stores on servers: real PostgreSQL for the ledger, the double of ClickHouse for usage."""

from tests.clickhouse import Double
from tests.postgresql import PostgreSQL


def new_stores(postgresql: PostgreSQL, clickhouse: Double) -> dict[str, str]:
    """Make two databases without tables; return the settings that name them."""
    return {"database_url": postgresql.empty(), "clickhouse_url": clickhouse.empty()}
