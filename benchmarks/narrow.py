"""Meterhouse with a journal that may lag by few events, so that overload comes soon.

`python -m benchmarks.narrow` takes what `meterhouse` takes.
"""

from meterhouse import limits
from meterhouse.cli.main import app

LAG_EVENTS_MAX = 20_000

if __name__ == "__main__":
    limits.JOURNAL_LAG_EVENTS_MAX = LAG_EVENTS_MAX
    app()
