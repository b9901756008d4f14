"""Instants as API v1 tells them: unix seconds."""


def seconds(instant: int) -> int:
    """Return milliseconds since the epoch as unix seconds."""
    return instant // 1000


def seconds_or_none(instant: int | None) -> int | None:
    """Return the same of an instant that may not have come."""
    return None if instant is None else seconds(instant)


def decimal_seconds(instant: int) -> str:
    """Return milliseconds since the epoch as unix seconds with three decimals, exactly."""
    return f"{instant // 1000}.{instant % 1000:03d}"
