import pytest

from meterhouse.wire.accept import choose

OFFERED = ("application/json", "text/csv", "application/vnd.apache.parquet")


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV ; charset=utf-8", "text/csv"),
        ("text/*", "text/csv"),
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("text/csv;q=0.5, */*;q=0.1", "text/csv"),
        ("*/*, application/json;q=0", "text/csv"),
        ("application/vnd.apache.parquet, */*;q=0.8", "application/vnd.apache.parquet"),
        ("text/html", None),
        ("text/csv;q=0", None),
        ("text/csv;q=much", None),
        (",", None),
    ],
)
def test_what_is_wanted_most_is_chosen(header: str, chosen: str | None) -> None:
    assert choose(header, OFFERED) == chosen
