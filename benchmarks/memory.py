"""Resident memory over time."""

import asyncio
import time

from benchmarks.processes import Process

_SAMPLES = 100
_SAMPLE_SECONDS_MIN = 0.5


class Memory:
    """What a process and its children occupied, in bytes, from its start to its end."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []  # seconds and bytes

    async def watch(self, process: Process, seconds: float) -> None:
        """Take samples for so long."""
        pause = max(seconds / _SAMPLES, _SAMPLE_SECONDS_MIN)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            # To look for children takes milliseconds, in which a load must not stand still.
            self._samples.append((time.perf_counter(), await asyncio.to_thread(process.memory)))
            await asyncio.sleep(pause)

    @property
    def first(self) -> int:
        """The first sample."""
        return self._samples[0][1]

    @property
    def last(self) -> int:
        """The last sample."""
        return self._samples[-1][1]

    @property
    def peak(self) -> int:
        """The largest sample."""
        return max(taken for _, taken in self._samples)

    @property
    def growth(self) -> float:
        """Bytes a second in the second half, as the slope of a line with the least squares."""
        half = self._samples[len(self._samples) // 2 :]
        at = sum(moment for moment, _ in half) / len(half)
        mean = sum(taken for _, taken in half) / len(half)
        spread = sum((moment - at) ** 2 for moment, _ in half)
        rise = sum((moment - at) * (taken - mean) for moment, taken in half)
        return rise / spread if spread else 0.0
