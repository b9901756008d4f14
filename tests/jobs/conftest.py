"""The stores that the tests of this room share."""

from tests.nodes import nodes
from tests.pipeline import lock, pipeline, usage

__all__ = ["lock", "nodes", "pipeline", "usage"]
