"""What an answer may expand (https://docs.stripe.com/api/expanding_objects)."""

from collections.abc import Collection, Iterable

from meterhouse.limits import EXPAND_LEVELS_MAX
from meterhouse.wire.envelope import cannot_expand, expand_too_deep


def check_expand(paths: Iterable[str], expandable: Collection[str] = ()) -> None:
    """Refuse a path to expand, such as `data.customer`, that is not in `expandable`."""
    for path in paths:
        if path.count(".") >= EXPAND_LEVELS_MAX:
            raise expand_too_deep(path)
        if path not in expandable:
            raise cannot_expand(path)
