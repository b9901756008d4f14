"""Metadata of objects (https://docs.stripe.com/api/metadata)."""

from collections.abc import Mapping

from msgspec import UnsetType

from meterhouse.limits import METADATA_KEYS_MAX
from meterhouse.wire.param_errors import too_many_metadata_keys


def merge_metadata(
    current: Mapping[str, str], change: Mapping[str, str] | UnsetType | None
) -> dict[str, str]:
    """Return `current` after the `change` that a request asks for.

    UNSET changes nothing, None removes everything, a key with an empty value is removed. Refuses
    more keys than an object may have.
    """
    if isinstance(change, UnsetType):
        return dict(current)
    if change is None:
        return {}
    merged = {key: value for key, value in {**current, **change}.items() if value}
    if len(merged) > METADATA_KEYS_MAX:
        raise too_many_metadata_keys("metadata", len(merged), METADATA_KEYS_MAX)
    return merged
