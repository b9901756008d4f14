"""Thousands of odd requests, after which a server has the memory and the ledger of before.

`METERHOUSE_FUZZ_SEED` repeats the requests of a run.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from meterhouse import limits
from tests.fuzz.examples import WANTED
from tests.fuzz.ledger import Kept
from tests.fuzz.wire import REQUESTS, WORDS, Edit, Wire, check, edited
from tests.server import Server

COUNT = WANTED or 3_000
SEED = 0 if os.environ.get("CI") else time.time_ns() % 1_000_000
SEED = int(os.environ.get("METERHOUSE_FUZZ_SEED", SEED))
WARM = 3_000
THREADS = 4
MEGABYTE = 1_048_576
GROWTH_BYTES_MAX = 8 * MEGABYTE


def _send(server: Server, dice: Random, count: int) -> None:
    wire = Wire(server)
    for _ in range(count):
        edits = [
            Edit(dice.randrange(1_001), dice.randrange(20), dice.choice(WORDS))
            for _ in range(dice.randrange(4))
        ]
        check(wire.exchange(edited(dice.choice(REQUESTS), edits), [dice.randrange(1_001)]))


def _send_all(server: Server, seed: int, count: int) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        each = [
            threads.submit(_send, server, Random(f"{seed} {number}"), count // THREADS)
            for number in range(THREADS)
        ]
        for sent in each:
            sent.result()


@pytest.mark.timeout(120 + COUNT // 20)
def test_memory_stays_flat(stranger: Server) -> None:
    print(f"METERHOUSE_FUZZ_SEED={SEED}")  # noqa: T201 - a failure shows it
    kept = Kept(stranger.data_dir)
    _send_all(stranger, SEED, WARM)
    before = stranger.resident_bytes()
    _send_all(stranger, SEED + 1, COUNT)
    grown = stranger.resident_bytes() - before
    print(f"{COUNT} requests, {grown / MEGABYTE:.1f} MB")  # noqa: T201 - `pytest -rP` shows it
    assert grown < GROWTH_BYTES_MAX
    assert not kept.changed()
    assert kept.failed_sign_ins() <= limits.SIGN_IN_NOTED_ATTEMPTS_MAX
    kept.close()
