"""Ids of raw events: `mev_…`, which stand for positions and tell nobody what those are.

Positions number the events of all accounts, so the difference of two would tell an account how much
all others send. A keyed permutation of all numbers of 64 bits hides them, another one for each
scope: no id has to be kept or looked up, and one of another scope names no event. The permutation
is a Feistel network whose rounds are keyed BLAKE2b
(https://en.wikipedia.org/wiki/Feistel_cipher).
"""

from hashlib import blake2b

from meterhouse.wire.ids import ALPHABET

_PREFIX = "mev_"
_CHARS = 11  # as many letters and digits as 64 bits take
_HALF_BITS = 32
_HALF_BYTES = _HALF_BITS // 8
_HALF = (1 << _HALF_BITS) - 1
_BITS = 2 * _HALF_BITS
_ROUNDS = range(4)
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


class EventIds:
    """Turns positions into ids and back; `key` is the ledger's, so every node does the same."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def show(self, scope: int, position: int) -> str:
        """Return the id of the event at a position of a scope."""
        left, right = position >> _HALF_BITS, position & _HALF
        for number in _ROUNDS:
            left, right = right, left ^ self._round(scope, number, right)
        return _PREFIX + _letters(left << _HALF_BITS | right)

    def position(self, scope: int, text: str) -> int | None:
        """Return the position that an id stands for in a scope; None when it is no such id."""
        hidden = _number(text)
        if hidden is None:
            return None
        left, right = hidden >> _HALF_BITS, hidden & _HALF
        for number in reversed(_ROUNDS):
            left, right = right ^ self._round(scope, number, left), left
        return left << _HALF_BITS | right

    def _round(self, scope: int, number: int, half: int) -> int:
        text = half.to_bytes(_HALF_BYTES, "big")
        salt = b"%d:%d" % (scope, number)
        digest = blake2b(text, digest_size=_HALF_BYTES, key=self._key, salt=salt).digest()
        return int.from_bytes(digest, "big")


def _letters(number: int) -> str:
    letters = []
    for _ in range(_CHARS):
        number, value = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[value])
    return "".join(reversed(letters))


def _number(text: str) -> int | None:
    letters = text.removeprefix(_PREFIX)
    if len(text) != len(_PREFIX) + _CHARS or len(letters) != _CHARS:
        return None
    number = 0
    for letter in letters:
        value = _VALUES.get(letter)
        if value is None:
            return None
        number = number * len(ALPHABET) + value
    return number if number >> _BITS == 0 else None
