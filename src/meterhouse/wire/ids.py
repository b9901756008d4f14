"""Identifiers of objects and secrets of keys, in the shapes that Stripe gives them.

Every id is its prefix and random letters and digits from the operating system's source, so none
can be guessed. The source is asked for many at a time, because each question costs microseconds.
Some objects tell their mode in their id: `mtr_test_61…` is a meter in test mode.
"""

import os
import secrets
import string
import uuid
from collections import deque
from hashlib import blake2b
from typing import Literal, NamedTuple

from meterhouse.masking import SIGNING_SECRET

ALPHABET = string.ascii_letters + string.digits


class Shape(NamedTuple):
    """How the ids of one kind of object look after their prefix.

    `chars` letters and digits follow `head`, which follows `test_` in test mode where the id is
    `modal`. `prefix` is only named where two kinds of object share one.
    """

    chars: int
    head: str = ""
    modal: bool = False
    prefix: str = ""


SHAPES: dict[str, Shape] = {
    "acct": Shape(16),
    "alrt": Shape(30, head="61", modal=True),
    "alrtg": Shape(24),
    "aud": Shape(24),
    "cbtxn": Shape(30, head="61", modal=True),
    "cli": Shape(24, modal=True),
    "cliws": Shape(24),
    "clock": Shape(23, head="1"),
    "credgr": Shape(30, head="61", modal=True),
    "cus": Shape(14),
    "del": Shape(24),
    "dses": Shape(24),
    "ed": Shape(30, head="61", modal=True),
    "ers": Shape(24),
    "evt": Shape(23, head="1"),
    "evt_thin": Shape(30, head="65", modal=True, prefix="evt"),
    "ii": Shape(23, head="1"),
    "il": Shape(23, head="1"),
    "il_tmp": Shape(23, head="1"),
    "in": Shape(23, head="1"),
    "key": Shape(24),
    "mea": Shape(30, head="61", modal=True),
    "mes": Shape(30, head="61", modal=True),
    "mtr": Shape(30, head="61", modal=True),
    "mtrusg": Shape(30, head="61", modal=True),
    "mtrusgrow": Shape(30, head="61", modal=True),
    "price": Shape(23, head="1"),
    "prod": Shape(14),
    "req": Shape(14),
    "rsd": Shape(24),
    "si": Shape(14),
    "sub": Shape(23, head="1"),
    "upcoming_in": Shape(23, head="1"),
    "we": Shape(23, head="1"),
}
SECRET_KEY_CHARS = 24
SIGNING_SECRET_CHARS = 32

# A byte stands for the letter at its remainder by 62. That favours the first eight letters by a
# quarter, which costs less than a fifth of a bit of the 83 that the shortest id has.
_LETTERS = bytes(ALPHABET[byte % len(ALPHABET)].encode()[0] for byte in range(256))


_RANDOM_BYTES = 32  # enough for any id
_RANDOM_AT_ONCE = 128
_random: deque[bytes] = deque()


def _random_bytes() -> bytes:
    """Return `_RANDOM_BYTES` that nobody else gets; safe to call from any thread."""
    try:
        return _random.popleft()
    except IndexError:
        drawn = os.urandom(_RANDOM_BYTES * _RANDOM_AT_ONCE)
        _random.extend(drawn[at : at + _RANDOM_BYTES] for at in range(0, len(drawn), _RANDOM_BYTES))
        return os.urandom(_RANDOM_BYTES)


def new_id(kind: str, livemode: bool | None = None) -> str:
    """Return a new id such as `cus_NciAYcXfLnqBoz` or `mtr_test_61Q8nQMqIFK9fRQmr41CMAXJrFdZ5MnA`.

    `kind` is a row of `SHAPES`. `livemode` is needed only where the id tells its mode.
    """
    shape = SHAPES[kind]
    prefix = shape.prefix or kind
    letters = _random_bytes()[: shape.chars].translate(_LETTERS).decode("ascii")
    if shape.modal and not livemode:
        return f"{prefix}_test_{shape.head}{letters}"
    return f"{prefix}_{shape.head}{letters}"


def derived_id(prefix: str, livemode: bool, *parts: str | int) -> str:
    """Return the id of an object that is computed and not stored: the same for the same `parts`.

    An event summary is such an object; pages of summaries are cut at its id.
    """
    shape = SHAPES[prefix]
    text = "\0".join(map(str, parts))
    digest = blake2b(text.encode(), digest_size=shape.chars).digest()
    letters = digest.translate(_LETTERS).decode("ascii")
    mode = "test_" if shape.modal and not livemode else ""
    return f"{prefix}_{mode}{shape.head}{letters}"


def new_secret_key(kind: Literal["sk", "rk"], livemode: bool) -> str:
    """Return a new API key: `sk_test_…`, `sk_live_…`, `rk_test_…` or `rk_live_…`."""
    return f"{kind}_{'live' if livemode else 'test'}_{_secret_letters(SECRET_KEY_CHARS)}"


def new_signing_secret() -> str:
    """Return a new secret that signs what a destination is sent: `whsec_…`."""
    return SIGNING_SECRET + _secret_letters(SIGNING_SECRET_CHARS)


def new_token(prefix: str) -> str:
    """Return a new secret that proves nothing but that its holder was given it."""
    return prefix + secrets.token_urlsafe(_RANDOM_BYTES)


def _secret_letters(chars: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(chars))


def new_identifier() -> str:
    """Return the identifier of a meter event whose sender gave none: a random UUID."""
    return str(uuid.UUID(bytes=_random_bytes()[:16], version=4))
