"""Money: whole minor units of a currency, and prices that may be fractions of one.

What a reader may rely on:

- What is billed is a whole number of minor units (cents, yen): an `int`. What a unit costs, or an
  amount before it is rounded, is an exact `Decimal` of minor units.
- Nothing is rounded but by `rounded`, once for each line: half up, which is away from zero.

https://docs.stripe.com/currencies
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation
from types import MappingProxyType

from meterhouse.limits import BILLING_DIGITS_MAX

CURRENCIES = frozenset(
    """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd
    cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq
    gyd hkd hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd
    lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk
    php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top
    try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw
    """.split()  # noqa: SIM905 - a list of strings would be 140 lines
)

_NO_DECIMALS = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split()  # noqa: SIM905
)
_THREE_DECIMALS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
_SYMBOLS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("aud", "cad", "hkd", "mxn", "nzd", "sgd", "usd"), "$")
    | {"brl": "R$", "eur": "€", "gbp": "£", "inr": "₹", "jpy": "¥"}
)

# Python's usual context would round what is multiplied to 28 digits and say nothing.
EXACT = Context(prec=BILLING_DIGITS_MAX, traps=[Inexact, InvalidOperation])


def decimals_of(currency: str) -> int:
    """Return how many decimals the minor unit of a currency is: 2 for usd, 0 for jpy."""
    if currency in _NO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


def rounded(amount: Decimal) -> int:
    """Round an amount to whole minor units, half of one away from zero."""
    return int(amount.to_integral_value(ROUND_HALF_UP))


def print_decimal(number: Decimal) -> str:
    """Print a quantity or a price exactly, without superfluous zeros: `1000.5`, `0`."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def print_money(amount: Decimal, currency: str) -> str:
    """Print an amount in minor units as people read it, with every digit: `$0.036`, `¥5`.

    There are at least as many decimals as the currency has.
    """
    decimals = decimals_of(currency)
    whole, _, fraction = format(amount.scaleb(-decimals, EXACT), "f").lstrip("-").partition(".")
    fraction = fraction.rstrip("0").ljust(decimals, "0")
    number = f"{whole}.{fraction}" if fraction else whole
    sign = "-" if amount < 0 else ""
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{number}" if symbol else f"{currency.upper()} {sign}{number}"
