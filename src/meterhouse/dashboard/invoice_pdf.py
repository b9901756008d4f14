"""An invoice as a PDF: what its page prints, in a file that needs no font of its reader.

What a reader may rely on:

- Names are any text. The font has Latin, Greek, Cyrillic, Georgian, Hebrew, Arabic, Devanagari and
  Thai, each written in its own direction; further fonts come from the setting `invoice_fonts`. What
  no font has is printed as a question mark, never left out.
- The same invoice gives the same file.
- What writes PDFs is imported when the first one is asked for: it takes a second and 50 MB, which
  most servers never need.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from meterhouse.dashboard.show import money, number
from meterhouse.dashboard.statement import Statement

if TYPE_CHECKING:
    from fpdf import FPDF
    from fpdf.fonts import FontFace

_SIZE, _SMALL, _LARGE = 10, 8, 20  # of letters, in points
_LINE = 5.2  # the height of one, in millimetres
_INK, _SOFT, _RULE = (27, 33, 48), (88, 97, 116), (226, 230, 237)
_WIDTHS = (102, 42, 36)  # of the columns
_MARGIN = 15
_FAMILY, _FURTHER = "own", "further{}"
_UNKNOWN = "?"
_SHAPED = range(0x0590, 0x1E00)  # from Hebrew on, up to where there are Latin letters again
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def print_pdf(statement: Statement, fonts: Sequence[Path] = ()) -> bytes:
    """Return the PDF of an invoice. It takes a while: not for the event loop."""
    with _blank(fonts) as pdf:
        pdf.set_text_shaping(use_shaping_engine=any(map(_is_shaped, _texts(statement))))
        page = _Page(pdf)
        page.head(statement)
        page.lines(statement)
        page.sums(statement)
        return bytes(pdf.output())


@contextmanager
def _blank(fonts: Sequence[Path]) -> Iterator["FPDF"]:
    """Open a document with its fonts, which are read from files until it is written."""
    import fpdf  # noqa: PLC0415 - see above
    from pymupdf_fonts import (  # type: ignore[import-untyped] # noqa: PLC0415
        FiraGO_Bold,
        FiraGO_Regular,
    )

    pdf = fpdf.FPDF(format="A4")
    pdf.set_creation_date(_EPOCH)
    pdf.set_margins(_MARGIN, _MARGIN)
    pdf.set_draw_color(*_RULE)
    with TemporaryDirectory() as folder:
        for style, font in (("", FiraGO_Regular), ("B", FiraGO_Bold)):
            path = Path(folder) / f"own{style}.ttf"
            path.write_bytes(font.fontbuffer)
            pdf.add_font(_FAMILY, style, path)
        further = [_FURTHER.format(place) for place in range(len(fonts))]
        for family, font_path in zip(further, fonts, strict=True):
            pdf.add_font(family, "", font_path)
        pdf.set_fallback_fonts(further, exact_match=False)
        pdf.add_page()
        yield pdf


def _texts(statement: Statement) -> Iterator[str]:
    """Yield what comes of others."""
    yield from (statement.seller, *statement.customer, *statement.notes)
    for part in statement.parts:
        yield from (entry.description for entry in part.entries)


def _is_shaped(text: str) -> bool:
    """Tell whether the letters of a text depend on each other, or go to the left.

    To find that out for each letter takes ten times as long as to write it.
    """
    return any(ord(letter) in _SHAPED for letter in text)


class _Page:
    """Writes the parts of an invoice, one below the other, over as many pages as they take."""

    def __init__(self, pdf: "FPDF") -> None:
        self._pdf = pdf
        self._known = {code for font in pdf.fonts.values() for code in getattr(font, "cmap", ())}

    def head(self, statement: Statement) -> None:
        """Write which invoice it is, of whom, for whom."""
        self._write(f"Invoice {statement.title}", size=_LARGE, bold=True)
        self._pdf.ln(2)
        for name, text in [("Status", statement.status.capitalize()), *statement.facts]:
            self._write(f"{name}: {text}", soft=True)
        self._pdf.ln(4)
        if statement.seller:
            self._write("From", size=_SMALL, soft=True)
            self._write(statement.seller, bold=True)
            self._pdf.ln(2)
        self._write("Bill to", size=_SMALL, soft=True)
        for place, text in enumerate(statement.customer):
            self._write(text, bold=not place)
        self._pdf.ln(6)

    def lines(self, statement: Statement) -> None:
        """Write the lines as a table, whose head is on each page."""
        self._font(_SIZE)
        with self._pdf.table(
            col_widths=_WIDTHS,
            text_align=("LEFT", "RIGHT", "RIGHT"),
            borders_layout="HORIZONTAL_LINES",
            line_height=_LINE,
            padding=(1.4, 1),
        ) as table:
            table.row(("Description", "Quantity", "Amount"))
            for part in statement.parts:
                row = table.row()
                row.cell(self._printable(part.period), colspan=len(_WIDTHS), style=_soft())
                for entry in part.entries:
                    quantity = "" if entry.quantity is None else number(entry.quantity)
                    amount = self._printable(money(entry.amount, statement.currency))
                    table.row((self._printable(entry.description), quantity, amount))
            if statement.more:
                table.row((f"and {number(statement.more)} more lines", "", ""))

    def sums(self, statement: Statement) -> None:
        """Write what it comes to, and what else is said."""
        self._pdf.ln(2)
        for place, (name, amount) in enumerate(statement.sums):
            self._font(_SIZE, bold=place == len(statement.sums) - 1)
            text = self._printable(money(amount, statement.currency))
            self._pdf.cell(_WIDTHS[0] + _WIDTHS[1], _LINE * 1.3, name, align="R")
            self._pdf.cell(_WIDTHS[2], _LINE * 1.3, text, align="R", new_x="LMARGIN", new_y="NEXT")
        self._pdf.ln(6)
        for note in statement.notes:
            self._write(note, size=_SMALL, soft=True)

    def _write(
        self, text: str, *, size: int = _SIZE, bold: bool = False, soft: bool = False
    ) -> None:
        self._font(size, bold=bold, soft=soft)
        height = _LINE * size / _SIZE
        self._pdf.multi_cell(
            0, height, self._printable(text), align="L", new_x="LMARGIN", new_y="NEXT"
        )

    def _font(self, size: int, *, bold: bool = False, soft: bool = False) -> None:
        self._pdf.set_font(_FAMILY, "B" if bold else "", size)
        self._pdf.set_text_color(*(_SOFT if soft else _INK))

    def _printable(self, text: str) -> str:
        """Return a text of which each character can be seen, and that is one paragraph."""
        return "".join(map(self._seen, unicodedata.normalize("NFC", text)))

    def _seen(self, letter: str) -> str:
        category = unicodedata.category(letter)
        if category in {"Cc", "Zl", "Zp"}:
            return " "
        if ord(letter) in self._known:
            return letter
        return "" if category in {"Cf", "Mn"} else _UNKNOWN


def _soft() -> "FontFace":
    from fpdf.fonts import FontFace  # noqa: PLC0415

    return FontFace(color=_SOFT, size_pt=_SMALL)
