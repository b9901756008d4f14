"""Where somebody stands, as a bar: parts of a whole, or how far it is to some lines.

Places in the picture are whole numbers; whatever a bar shows is told beside it in words, too.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

WIDTH = 1_000  # of the picture


class Part(NamedTuple):
    """A part of a bar: what kind it is, how much, where it begins and how wide it is."""

    kind: str
    amount: int
    left: int
    width: int


class Line(NamedTuple):
    """A line that something may reach, and where in the bar that is."""

    gte: Decimal
    at: int
    reached: bool


class Position(NamedTuple):
    """How far it is: the bar is full once the last of the lines is reached."""

    used: Decimal
    width: int
    lines: list[Line]

    @property
    def last(self) -> Line:
        """The greatest of the lines."""
        return self.lines[-1]


def parts(amounts: Iterable[tuple[str, int]]) -> list[Part]:
    """Return the parts of a whole from left to right, by what kind they are; none is negative."""
    told = list(amounts)
    whole = sum(amount for _, amount in told) or 1
    found, before = [], 0
    for kind, amount in told:
        left, right = before * WIDTH // whole, (before + amount) * WIDTH // whole
        found.append(Part(kind, amount, left, right - left))
        before += amount
    return found


def position(used: Decimal, lines: Iterable[Decimal]) -> Position:
    """Return how far it is to lines, which rise and are positive."""
    told = list(lines)

    def at(value: Decimal) -> int:
        return int(max(min(value / told[-1], Decimal(1)), Decimal(0)) * WIDTH)

    return Position(used, at(used), [Line(one, at(one), used >= one) for one in told])
