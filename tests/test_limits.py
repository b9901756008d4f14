import re
from collections import Counter
from pathlib import Path

import pytest

import meterhouse
from meterhouse import limits

BOUNDS = {name: value for name, value in vars(limits).items() if name.isupper()}
WORDS = Counter(
    word
    for path in Path(meterhouse.__file__).parent.rglob("*.py")
    for word in re.findall(r"\w+", path.read_text())
)

# The unit of a bound, or what it counts, stands last, or before _MAX.
UNITS = re.findall(
    r"\w+",
    """
    ATTEMPTS BITS BYTES CACHED CHARS CLAUSES COMBINATIONS CONNECTIONS DAYS DECIMALS DEFAULT DEPTH
    DESTINATIONS DIGESTS DIGITS DOUBLINGS EVENTS EXPORTS FILES FRAMES GROUPS HOURS INSTRUCTIONS
    ITEMS KEPT KEYS LEVELS LIMIT LINES LISTENERS MICROSECONDS MILLISECONDS MINUTES OBJECTS PAIRS
    PARTITIONS PARTS PASSES PLACES POSITIONS PROCESSES PROXIES READERS ROWS SECONDS SECRETS STRIPES
    WAITING WINDOWS
    """,
)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_is_a_positive_whole_number(name: str) -> None:
    assert isinstance(BOUNDS[name], int)
    assert BOUNDS[name] > 0


@pytest.mark.parametrize("name", BOUNDS)
def test_the_unit_of_a_bound_stands_last(name: str) -> None:
    assert name.removesuffix("_MAX").rpartition("_")[2] in UNITS


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_is_used(name: str) -> None:
    assert WORDS[name] > 1


def test_the_relations_that_hold_the_system_together() -> None:
    assert limits.EVENT_PAST_DAYS_MAX <= limits.REJECTED_EVENTS_DAYS
    assert limits.REQUEST_HEAD_BYTES_MAX <= limits.REQUEST_BODY_BYTES_MAX
    assert limits.CONSISTENCY_WAIT_SECONDS_MAX < limits.STOP_REQUESTS_SECONDS_MAX
    assert limits.REQUEST_BODY_READ_SECONDS_MAX <= limits.STOP_REQUESTS_SECONDS_MAX
    assert limits.PROCESS_LINGER_MILLISECONDS < limits.CONSISTENCY_WAIT_SECONDS_MAX * 1_000
    assert limits.DELIVERY_LIVE_DAYS <= limits.NOTIFICATIONS_DAYS
    assert limits.DELIVERY_DESTINATION_ATTEMPTS_MAX <= limits.DELIVERY_ATTEMPTS_MAX
    assert limits.CREDENTIAL_CACHE_SECONDS <= limits.REQUEST_BODY_READ_SECONDS_MAX
