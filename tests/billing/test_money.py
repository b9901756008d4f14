from decimal import Decimal

import pytest

from meterhouse.billing.money import CURRENCIES, decimals_of, print_money, rounded


@pytest.mark.parametrize(
    ("amount", "whole"),
    [
        ("111.6", 112),
        ("0.5", 1),
        ("1.5", 2),
        ("2.5", 3),
        ("0.499999999999", 0),
        ("-0.5", -1),
        ("-2.5", -3),
        ("99999999999999999999999999999999999999.5", 10**38),
    ],
)
def test_half_of_a_minor_unit_is_rounded_away_from_zero(amount: str, whole: int) -> None:
    assert rounded(Decimal(amount)) == whole


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("4", "usd", "$0.04"),
        ("2000", "usd", "$20.00"),
        ("3.6", "usd", "$0.036"),
        ("0", "usd", "$0.00"),
        ("0.000123456789", "usd", "$0.00000123456789"),
        ("999", "eur", "€9.99"),
        ("1050", "gbp", "£10.50"),
        ("5", "jpy", "¥5"),
        ("0.5", "jpy", "¥0.5"),
        ("100", "chf", "CHF 1.00"),
        ("1500", "kwd", "KWD 1.500"),
        ("-112", "usd", "-$1.12"),
        ("123456789012345678901234567890", "usd", "$1234567890123456789012345678.90"),
    ],
)
def test_an_amount_is_printed_with_every_digit(amount: str, currency: str, text: str) -> None:
    assert print_money(Decimal(amount), currency) == text


def test_currencies_have_no_decimals_or_two_or_three() -> None:
    assert {decimals_of(currency) for currency in CURRENCIES} == {0, 2, 3}
    assert all(len(currency) == 3 and currency.islower() for currency in CURRENCIES)
