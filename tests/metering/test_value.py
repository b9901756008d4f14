from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.value import InvalidValue, print_value, read_value
from tests.metering import oracle
from tests.metering.samples import values

NOT_A_NUMBER, TOO_MANY_DIGITS = InvalidValue.NOT_A_NUMBER, InvalidValue.TOO_MANY_DIGITS

# text on the wire, the number it means
NUMBERS = [
    ("0", "0"),
    ("25", "25"),
    ("-3", "-3"),
    ("+7", "7"),
    ("-0", "0"),
    ("-0.00", "0"),
    ("007", "7"),
    ("0.1", "0.1"),
    ("-0.125", "-0.125"),
    ("1.50", "1.5"),
    ("25.0", "25"),
    ("999999999999999", "999999999999999"),
    ("-999999999999999", "-999999999999999"),
    ("100000000000000", "100000000000000"),
    ("99999999999999.9", "99999999999999.9"),
    ("0.000000000000001", "0.000000000000001"),
    ("0.999999999999999", "0.999999999999999"),
    ("0" * 85 + "123456789012345", "123456789012345"),
    ("1." + "0" * 98, "1"),
    ("1.5" + "0" * 97, "1.5"),
    ("1e-07", "0.0000001"),  # Python's str(0.0000001)
    ("2.5e-06", "0.0000025"),
    ("1e-7", "0.0000001"),  # JavaScript's String(0.0000001)
    ("1E-7", "0.0000001"),  # Python's str(Decimal("0.0000001"))
    ("-1.5E+3", "-1500"),
    ("+1e3", "1000"),
    ("1e14", "100000000000000"),
    ("1e-15", "0.000000000000001"),
    ("123456789012345E-15", "0.123456789012345"),
    ("1.23456789012345e14", "123456789012345"),
    ("1.5e1", "15"),
    ("1500e-2", "15"),
    ("0.000001e6", "1"),
    ("12.50E0", "12.5"),
    ("1e-0000000000000000000007", "0.0000001"),
    ("-0e5", "0"),
    ("0e999999999", "0"),
    ("0.0E-" + "9" * 10_000, "0"),
    ("1" + "0" * 90 + "e-90", "1"),
    ("0." + "0" * 80 + "25e81", "2.5"),
]

NOT_NUMBERS = [
    *("", " ", "abc", "NaN", "nan", "-NaN", "sNaN", "Infinity", "-inf", "null", "true"),
    *("1e", "e3", "1e+", "1e1.5", "1e 3", "1 e3", "1ee3", "1e3e3", "1e--3", ".5e3", "5.e3", "1d3"),
    *("1e\u0663", "1e\N{MINUS SIGN}3", "infe3", "0x1p-3", "1\N{MULTIPLICATION SIGN}10³", "1e_3"),
    *("0x10", "1_000", "1,000", "1 000", "1,5", "$5", "5%"),
    *(".5", "5.", ".", "-", "+", "--1", "+-1", "1-", "1.2.3", "-.5"),
    *(" 1", "1 ", "1\n", "\t1", "1\0", "\u00a01"),
    *("١٢", "१", "²", "½", "Ⅷ", "一", "1\N{FULLWIDTH DIGIT TWO}", "\N{MINUS SIGN}1", "🙂"),
]

TOO_LONG = [
    "1000000000000000",  # the zeros of a whole number are digits
    "-1234567890123456",
    "1234567890.123456",
    "0.1234567890123456",
    "0.0000000000000001",  # one digit, but sixteen decimals
    "9" * 100,
    "1" + "0" * 10_000,
    "1e15",
    "1.5e15",
    "1e-16",
    "-2.5e-15",
    "1234567890123456e-3",
    "1e999999999",
    "1e-999999999",
    "1E+" + "9" * 10_000,
    "1e-" + "9" * 10_000,
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_reads_exactly_the_number_that_is_meant(text: str, number: str) -> None:
    value = read_value(text, whole=False)
    assert isinstance(value, Decimal)
    assert value == Decimal(number)
    assert print_value(value) == number


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_anything_else_is_not_a_number(text: str) -> None:
    assert read_value(text, whole=False) is NOT_A_NUMBER
    assert read_value(text, whole=True) is NOT_A_NUMBER
    assert NOT_A_NUMBER.code == "meter_event_invalid_value"


@pytest.mark.parametrize("text", TOO_LONG)
def test_fifteen_digits_are_the_most(text: str) -> None:
    assert read_value(text, whole=False) is TOO_MANY_DIGITS
    assert TOO_MANY_DIGITS.code == "meter_event_value_too_many_digits"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("25", Decimal(25)),
        ("-3", Decimal(-3)),
        ("+7", Decimal(7)),
        ("25.0", NOT_A_NUMBER),
        ("0.5", NOT_A_NUMBER),
        ("1234567890.123456", NOT_A_NUMBER),
        ("1000000000000000", TOO_MANY_DIGITS),
        ("1e3", Decimal(1000)),
        ("-1.5E+3", Decimal(-1500)),
        ("1500e-2", Decimal(15)),
        ("25.0e0", Decimal(25)),
        ("0e-7", Decimal(0)),
        ("1e-07", NOT_A_NUMBER),
        ("1.25e1", NOT_A_NUMBER),
        ("1e-999999999", NOT_A_NUMBER),
        ("1e15", TOO_MANY_DIGITS),
        ("1e999999999", TOO_MANY_DIGITS),
    ],
)
def test_whole_numbers_have_no_point_unless_an_exponent_moves_it(
    text: str, value: Decimal | InvalidValue
) -> None:
    assert read_value(text, whole=True) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-15"), "0.000000000000001"),
        (Decimal("25.00"), "25"),
        (Decimal(100), "100"),
        (Decimal("-0"), "0"),
        (Decimal("-0.000"), "0"),
        (Decimal("0E+5"), "0"),
        (Decimal("-12.3400"), "-12.34"),
        (Decimal("9" * 40 + "." + "9" * 15), "9" * 40 + "." + "9" * 15),
    ],
)
def test_prints_the_shortest_exact_number(value: Decimal, text: str) -> None:
    assert print_value(value) == text


@given(values())
def test_what_is_printed_reads_back_as_itself(value: Decimal) -> None:
    text = print_value(value)
    assert read_value(text, whole=False) == value
    assert read_value(text, whole=True) == (NOT_A_NUMBER if "." in text else value)


@given(
    st.text(max_size=20)
    | st.text(alphabet="0123456789.+-eE _", max_size=24)
    | st.from_regex(r"\A[+-]?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?\Z"),
    st.booleans(),
)
def test_reads_as_the_oracle_does(text: str, whole: bool) -> None:
    value = read_value(text, whole=whole)
    assert (value.code if isinstance(value, InvalidValue) else value) == oracle.read(
        text, whole=whole
    )


@given(values(), st.integers(-120, 120), st.sampled_from("eE"), st.booleans())
def test_however_it_is_written_it_is_the_same_number(
    value: Decimal, shift: int, letter: str, whole: bool
) -> None:
    scaled = format(value.scaleb(-shift), "f")
    read = read_value(f"{scaled}{letter}{shift:+}", whole=whole)
    assert read == (NOT_A_NUMBER if whole and value % 1 else value)


@given(values())
def test_reads_what_a_decimal_prints(value: Decimal) -> None:
    assert read_value(str(value), whole=False) == value
    assert read_value(str(value.normalize()), whole=False) == value


@given(st.from_regex(r"\A[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?\Z"))
def test_a_value_fits_its_column_and_has_one_spelling(text: str) -> None:
    value = read_value(text, whole=False)
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        assert -15 <= exponent <= 0
        assert len(digits) <= 15
        assert value or sign == 0
