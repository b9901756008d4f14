"""What the tests of this room say again and again."""

from datetime import datetime

from meterhouse import zones

HOUR = 3_600_000
DAY = 24 * HOUR


def at(text: str, zone: str = "UTC") -> int:
    """Return the instant at which the clock of a zone shows `text`, in milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zones.zone(zone)).timestamp()) * 1000
