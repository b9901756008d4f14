import io

import pytest
from rich.console import Console

from meterhouse.cli import output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_is_lines_of_fields_for_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("id", "name"), [("acct_1", "[bold]Ada[/bold]"), ("acct_2", "")])
    assert capsys.readouterr().out == "id\tname\nacct_1\t[bold]Ada[/bold]\nacct_2\t\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", r"a\tb\nc"),
        ("\x1b[31m\x07\x9b", r"\x1b[31m\x07\x9b"),
        ("\u2028\udcff", r"\u2028\udcff"),
        ("Löwe 🎩 \\ [bold]", "Löwe 🎩 \\ [bold]"),
    ],
)
def test_no_text_breaks_a_line_or_commands_a_terminal(
    capsys: pytest.CaptureFixture[str], text: str, shown: str
) -> None:
    output.print_table(("text", "next"), [(text, "x")])
    output.complain(text)
    captured = capsys.readouterr()
    assert captured.out == f"text\tnext\n{shown}\tx\n"
    assert shown.partition(r"\n")[0] in captured.err


def test_a_table_has_columns_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(output, "Console", lambda: Console(file=terminal, width=60, no_color=True))
    output.print_table(("id", "name"), [("acct_1", "[bold]Ada[/bold]")])
    shown = terminal.getvalue()
    assert "\t" not in shown
    assert "[bold]Ada[/bold]" in shown


def test_a_complaint_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    output.complain("x " * 200)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: x x")
    assert captured.err.count("\n") == 1


def test_an_instant_is_shown_in_utc() -> None:
    assert output.show_time(1_795_244_400_123) == "2026-11-21 07:00:00Z"
