"""Meterhouse with a journal that may lag by few events, so that overload comes soon.

`python -m benchmarks.narrow` takes what `meterhouse` takes, and the bound from a variable.
"""

import os

from meterhouse import limits
from meterhouse.cli.main import app

if __name__ == "__main__":
    limits.JOURNAL_LAG_EVENTS_MAX = int(os.environ["BENCHMARK_JOURNAL_EVENTS"])
    app()
