"""The stores that the tests of this room share; a ledger is one of each kind."""

from tests.ledger.conftest import ledger, url
from tests.pipeline import lock, pipeline, usage

__all__ = ["ledger", "lock", "pipeline", "url", "usage"]
