from collections.abc import Mapping

import pytest
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.wire.metadata import merge_metadata


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (UNSET, {"a": "1", "b": "2"}),
        (None, {}),
        ({}, {"a": "1", "b": "2"}),
        ({"a": ""}, {"b": "2"}),
        ({"a": "3", "c": "4", "d": ""}, {"a": "3", "b": "2", "c": "4"}),
    ],
)
def test_merges(change: Mapping[str, str] | UnsetType | None, after: dict[str, str]) -> None:
    assert merge_metadata({"a": "1", "b": "2"}, change) == after


def test_bounds_what_the_object_would_have() -> None:
    full = {str(n): "v" for n in range(limits.METADATA_KEYS_MAX)}
    assert merge_metadata(full, {"0": "", "new": "v"}).keys() == full.keys() - {"0"} | {"new"}
    with pytest.raises(Refusal, match="up to 50 keys, but you've set 51"):
        merge_metadata(full, {"new": "v"})
