"""Types of events, and the patterns that destinations and lists name them by.

The type of a thin event begins with the API version of its object (`v1.billing.meter.created`,
`v2.core.event_destination.ping`), that of a snapshot event does not (`billing.meter.created`). A
pattern is a type, or ends in `*` and stands for every type that begins so: `billing.meter.*`, `*`
(https://docs.stripe.com/api/events/types).
"""

import re
from collections.abc import Iterable

from meterhouse.wire.notification import Payload

_PATTERN = re.compile(r"\*|[a-z0-9_]+(?:\.[a-z0-9_]+)*(?:\.\*)?", re.ASCII)
_THIN = re.compile(r"v[0-9]+\.", re.ASCII)


def is_pattern(text: str) -> bool:
    """Return whether `text` is a type or a pattern of types."""
    return _PATTERN.fullmatch(text) is not None


def may_match(pattern: str, payload: Payload) -> bool:
    """Return whether there can be events of this payload that `pattern` stands for."""
    return pattern == "*" or (payload == "thin") == (_THIN.match(pattern) is not None)


def matches(patterns: Iterable[str], type_: str) -> bool:
    """Return whether one of `patterns` stands for `type_`."""
    return any(
        type_.startswith(pattern[:-1]) if pattern.endswith("*") else type_ == pattern
        for pattern in patterns
    )
