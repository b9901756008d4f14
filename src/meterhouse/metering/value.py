"""Usage values: from a payload's text to an exact number, and back.

What a reader may rely on:

- A value that was read is a finite `Decimal` of at most `EVENT_VALUE_DIGITS_MAX` significant
  digits and `EVENT_VALUE_DECIMALS_MAX` decimals, written without superfluous zeros after the
  point, and never a negative zero. It fits the column that stores it.
- Nothing is rounded, on the way in or on the way out.
- `read_value(print_value(value), whole=False) == value` for every value that was read.
"""

import re
from decimal import Decimal
from enum import Enum

from meterhouse.limits import EVENT_VALUE_DECIMALS_MAX, EVENT_VALUE_DIGITS_MAX

ZERO = Decimal(0)
ONE = Decimal(1)

_PLAIN = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?")


class InvalidValue(Enum):
    """Why a text is not a usage value; `code` is the error-report code.

    https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api#error-codes
    """

    NOT_A_NUMBER = "meter_event_invalid_value"
    TOO_MANY_DIGITS = "meter_event_value_too_many_digits"

    @property
    def code(self) -> str:
        """The code that an error report gives for it."""
        return self.value


def read_value(text: str, *, whole: bool) -> Decimal | InvalidValue:
    """Read a usage value in plain decimal notation: `25`, `-3`, `+0.125`.

    Exponents, spaces, separators, `NaN`, `Infinity`, a bare point (`.5`, `5.`) and digits beyond
    ASCII are not numbers here. Zeros in front, and zeros behind the last decimal that matters, are
    read and do not count as digits. With `whole`, a text with a point is not a number either.

    https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage#usage-values
    """
    if len(text) <= EVENT_VALUE_DIGITS_MAX and text.isdigit() and text.isascii():
        return Decimal(text)
    match = _PLAIN.fullmatch(text)
    if match is None or (whole and match[3] is not None):
        return InvalidValue.NOT_A_NUMBER
    sign, integer = match[1], match[2].lstrip("0")
    decimals = (match[3] or "").rstrip("0")
    digits = integer + decimals if integer else decimals.lstrip("0")
    if len(digits) > EVENT_VALUE_DIGITS_MAX or len(decimals) > EVENT_VALUE_DECIMALS_MAX:
        return InvalidValue.TOO_MANY_DIGITS
    return Decimal(f"{sign}{integer or '0'}.{decimals}") if digits else ZERO


def print_value(value: Decimal) -> str:
    """Print a finite number exactly, as short as plain notation can: `25`, `-0.5`, `0`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
