"""A filter of digests: has this one been added? "No" is certain, "yes" is a suspicion.

A Bloom filter (https://doi.org/10.1145/362686.362692) whose bits for one digest lie in two words,
so that a look-up costs two visits to memory. It works on whole arrays of digests at a time. A part
that is full is followed by a new one; where there are too many, the two oldest become one, which
costs certainty and no memory. A part is dropped once everything in it is over its time.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from meterhouse import limits

Digests = npt.NDArray[np.uint64]  # the first eight bytes of each digest

_WORD_BITS = 64
_WORDS = limits.FILTER_PART_BYTES // 8
_IN_WORD = np.uint64(_WORD_BITS - 1)
# Four bits in each word. The highest bits of a digest choose the word, and the lowest ones are the
# same in a whole partition of the journal.
_SHIFTS = [np.uint64(shift) for shift in (17, 23, 29, 35)]
_ODD = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2⁶⁴ divided by the golden ratio spreads the second word
_ONE = np.uint64(1)


class Filter:
    """Digests by the day on which they were added. Not thread-safe.

    Of so many filters as `share` says each has that part of the memory, and of the room, of one.
    """

    def __init__(self, share: int = 1) -> None:
        self._words = 1 << (max(_WORDS // share, 1).bit_length() - 1)
        self._digests_max = limits.FILTER_PART_DIGESTS_MAX * self._words // _WORDS
        self._parts: list[_Part] = []

    def add(self, digests: Digests, day: int) -> None:
        """Add digests; `day` is when their time begins, counted from the epoch."""
        self.prepare()
        self._parts[-1].add(digests, day)

    def prepare(self) -> None:
        """Have a part that digests can be added to, whose memory may take 0.3 s to claim."""
        if not self._parts or self._parts[-1].digests >= self._digests_max:
            self._append(_Part(self._words))

    def _append(self, part: "_Part") -> None:
        self._parts.append(part)
        if len(self._parts) > limits.FILTER_PARTS_MAX:
            self._parts[1].take_in(self._parts.pop(0))

    def append(self, newer: "Filter") -> None:
        """Add what a filter of later days and the same share holds, which nobody uses any more."""
        for part in newer._parts:  # noqa: SLF001 - of the same class
            last = self._parts[-1] if self._parts else None
            if last and last.digests + part.digests <= self._digests_max:
                last.take_in(part)
            else:
                self._append(part)

    def suspects(self, digests: Digests) -> npt.NDArray[np.bool_]:
        """Tell for each digest whether it may have been added."""
        found = np.zeros(len(digests), np.bool_)
        if self._parts:
            probes = list(_probes(digests, self._words))
            for part in self._parts:
                found |= part.holds(probes)
        return found

    def drop(self, before: int) -> None:
        """Drop the parts that hold nothing of the day `before` or later."""
        self._parts = [part for part in self._parts if part.day >= before]


Probe = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]


class _Part:
    """One Bloom filter, the number of digests in it and the last day of any."""

    def __init__(self, words: int) -> None:
        # Memory is claimed in order here: a tenth of what it costs when digests touch it at random.
        self._words = np.full(words, 0, np.uint64)
        self.digests = 0
        self.day = 0

    def add(self, digests: Digests, day: int) -> None:
        for words, bits in _probes(digests, len(self._words)):
            np.bitwise_or.at(self._words, words, bits)
        self.digests += len(digests)
        self.day = max(self.day, day)

    def holds(self, probes: list[Probe]) -> npt.NDArray[np.bool_]:
        found = np.ones(len(probes[0][0]), np.bool_)
        for words, bits in probes:
            found &= (self._words[words] & bits) == bits
        return found

    def take_in(self, other: "_Part") -> None:
        """Add everything that another part holds."""
        self._words |= other._words  # noqa: SLF001 - of the same class
        self.digests += other.digests
        self.day = max(self.day, other.day)


def _probes(digests: Digests, words: int) -> Iterator[Probe]:
    """Yield, twice, which of so many words belongs to each digest and which of its bits."""
    to_word = np.uint64(_WORD_BITS - words.bit_length() + 1)
    for mixed in (digests, digests * _ODD):
        bits = np.zeros(len(mixed), np.uint64)
        for shift in _SHIFTS:
            bits |= _ONE << ((mixed >> shift) & _IN_WORD)
        yield mixed >> to_word, bits
