from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pymupdf_fonts import NotoSansSymbols2_Regular  # type: ignore[import-untyped]
from pypdf import PdfReader

from meterhouse.dashboard.invoice_pdf import print_pdf
from meterhouse.dashboard.statement import Entry, Part, Statement


def statement(**more: Any) -> Statement:
    """Return an invoice of one line."""
    entry = Entry("il_1", "31 credit × Gitpod Usage (Tier 2 at $0.036 / month)", Decimal(31), 112)
    return Statement(
        title="DF67D6F2-0001",
        status="open",
        seller="House & Co.",
        customer=["Ada", "ada@example.com"],
        facts=[("Issued", "1 Dec 2026")],
        parts=[Part("1 Nov 2026 \N{EN DASH} 1 Dec 2026", [entry])],
        more=0,
        currency="usd",
        sums=[("Total", 112), ("From the balance", -12), ("Due", 100)],
        notes=["Thanks."],
    )._replace(**more)


def pages(pdf: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(BytesIO(pdf)).pages]


def test_everything_that_an_invoice_says_is_printed() -> None:
    [text] = pages(print_pdf(statement()))
    for told in (
        "Invoice DF67D6F2-0001",
        "House & Co.",
        "Issued: 1 Dec 2026",
        "ada@example.com",
        "1 Nov 2026 \N{EN DASH} 1 Dec 2026",
        "31 credit × Gitpod Usage (Tier 2 at $0.036 / month)",
        "$1.12",
        "\N{MINUS SIGN}$0.12",
        "Thanks.",
    ):
        assert told in text


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("Überflug Ελλάς Київ", "Überflug Ελλάς Київ"),
        ("<b>&amp;\n\x00\u2028**bold**", "<b>&amp; **bold**"),
        ("ひまわり", "????"),
        ("a\u2062b", "ab"),
        ("x" * 500, "x" * 40),
    ],
)
def test_a_name_is_any_text(name: str, printed: str) -> None:
    [text] = pages(print_pdf(statement(customer=[name])))
    assert printed in " ".join(text.split())


@pytest.mark.parametrize("name", ["שלום עולם", "محمد علي", "हिन्दी", "ภาษาไทย"])
def test_letters_are_joined_and_go_to_the_left_where_they_do(name: str) -> None:
    shaped = print_pdf(statement(customer=[name]))
    assert "?" not in pages(shaped)[0]


def test_further_fonts_are_used_where_the_own_one_has_nothing(tmp_path: Path) -> None:
    symbols = tmp_path / "symbols.ttf"
    symbols.write_bytes(NotoSansSymbols2_Regular.fontbuffer)
    chess = statement(customer=["♔ Ltd"])
    assert "? Ltd" in pages(print_pdf(chess))[0]
    assert "♔ Ltd" in pages(print_pdf(chess, [symbols]))[0]


def test_a_long_invoice_goes_over_pages_with_the_head_on_each() -> None:
    entries = [Entry(str(number), f"line {number}", Decimal(1), 1) for number in range(100)]
    found = pages(print_pdf(statement(parts=[Part("May", entries)], more=12)))
    assert len(found) > 1
    assert all("Description" in text for text in found[:-1])
    assert "line 99" in found[-1]
    assert "and 12 more lines" in found[-1]


def test_the_same_invoice_is_the_same_file() -> None:
    assert print_pdf(statement()) == print_pdf(statement())
