"""How many examples a test of this room takes: few in the suite, as many as one likes otherwise."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

FnT = TypeVar("FnT", bound=Callable[..., Any])

WANTED = int(os.environ.get("METERHOUSE_FUZZ_EXAMPLES", "0"))
_EXAMPLE_SECONDS_MAX = 0.2
_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


def examples(usual: int) -> Callable[[FnT], FnT]:
    """Let a test take so many examples in the suite, and no longer than they may."""
    count = WANTED or usual

    def decorate(test: FnT) -> FnT:
        bounded = settings(max_examples=count, suppress_health_check=_SLOW)(test)
        marked: FnT = pytest.mark.timeout(60 + count * _EXAMPLE_SECONDS_MAX)(bounded)
        return marked

    return decorate
