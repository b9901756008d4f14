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

_NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?")
_EXPONENT_DIGITS = 9  # no text is so long that its digits make up for a longer one


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
    """Read a usage value: `25`, `-3`, `+0.125`, `1e-07`, `2.5E+3`.

    An exponent shifts the point, exactly: the bounds are those of the number that is meant. Spaces,
    separators, `NaN`, `Infinity`, a bare point (`.5`, `5.`) and digits beyond ASCII are not numbers
    here. Zeros in front, and zeros behind the last decimal that matters, are read and do not count
    as digits. With `whole`, a text with a point and no exponent is not a number either, nor is one
    with an exponent that means a fraction.

    https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage#usage-values
    """
    if len(text) <= EVENT_VALUE_DIGITS_MAX and text.isdigit() and text.isascii():
        return Decimal(text)
    match = _NUMBER.fullmatch(text)
    if match is None or (whole and match[3] and not match[5]):
        return InvalidValue.NOT_A_NUMBER
    sign, integer, decimals, direction, exponent = match.groups(default="")
    written = (integer + decimals).lstrip("0")
    digits = written.rstrip("0")
    if not digits:
        return ZERO
    # The number is its digits, which neither begin nor end with zero, times this power of ten.
    power = len(written) - len(digits) - len(decimals)
    power += int(f"{direction}0{exponent.lstrip('0')[:_EXPONENT_DIGITS]}")
    if whole and power < 0:
        return InvalidValue.NOT_A_NUMBER
    if len(digits) + max(power, 0) > EVENT_VALUE_DIGITS_MAX or -power > EVENT_VALUE_DECIMALS_MAX:
        return InvalidValue.TOO_MANY_DIGITS
    return Decimal(f"{sign}{digits}e{power}" if power < 0 else f"{sign}{digits}{'0' * power}")


def print_value(value: Decimal) -> str:
    """Print a finite number exactly, as short as plain notation can: `25`, `-0.5`, `0`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
