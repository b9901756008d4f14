"""The stores that the tests of this room share."""

from tests.pipeline import lock, pipeline, usage

__all__ = ["lock", "pipeline", "usage"]
