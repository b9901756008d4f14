from datetime import date

import pytest

from meterhouse.errors import Refusal
from meterhouse.wire.version import DEFAULT_VERSION, ApiVersion, parse_version


@pytest.mark.parametrize(
    ("text", "day", "preview", "decimals"),
    [
        ("2011-01-01", date(2011, 1, 1), False, False),
        ("2019-03-14", date(2019, 3, 14), False, False),
        ("2024-06-20", date(2024, 6, 20), False, False),
        ("2024-09-30.acacia", date(2024, 9, 30), False, False),
        ("2025-03-30.acacia", date(2025, 3, 30), False, False),
        ("2025-03-31.basil", date(2025, 3, 31), False, False),
        ("2025-11-17.clover", date(2025, 11, 17), False, False),
        ("2026-03-25.dahlia", date(2026, 3, 25), False, False),
        ("2026-04-22.dahlia", date(2026, 4, 22), False, True),
        ("2026-10-28.endive", date(2026, 10, 28), False, True),
        ("2024-09-30.preview", date(2024, 9, 30), True, False),
        ("2026-10-14.preview", date(2026, 10, 14), True, True),
        ("2026-11-18.endive", date(2026, 11, 18), False, True),
        ("2027-03-31.fig", date(2027, 3, 31), False, True),
        ("2029-12-31.preview", date(2029, 12, 31), True, True),
    ],
)
def test_known(text: str, day: date, preview: bool, decimals: bool) -> None:
    version = parse_version(text)
    assert version.text == text
    assert version.date == day
    assert version.preview is preview
    assert version.decimals_allowed is decimals


def test_the_default_is_the_newest() -> None:
    assert parse_version("2026-10-28.endive") == DEFAULT_VERSION
    assert DEFAULT_VERSION.text == "2026-10-28.endive"


def test_equal_versions_are_equal() -> None:
    assert parse_version("2019-03-14") == ApiVersion(date(2019, 3, 14), "", "2019-03-14")
    assert hash(parse_version("2019-03-14")) == hash(
        ApiVersion(date(2019, 3, 14), "", "2019-03-14")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "2010-12-31",
        "2024-06-21",
        "2024-09-30",
        "2025-02-29.acacia",
        "2025-03-31.acacia",
        "2025-03-30.basil",
        "2026-10-29",
        "2027-03-31",
        "2030-01-01.fig",
        "2099-01-01.preview",
        "2024-08-31.preview",
        "2026-10-28.fig",
        "2026-13-01.endive",
        "2026-1-01.basil",
        "20261028.endive",
        "2026-10-28.endive\n",
        "2026-10-28.endive, 2026-10-28.endive",
        "\u0662\u0660\u0661\u0669-03-14",
        "x" * 10_000,
    ],
)
def test_unknown(text: str) -> None:
    with pytest.raises(Refusal, match="Invalid Stripe API version: ") as caught:
        parse_version(text)
    assert caught.value.status == 400
    assert len(caught.value.message) < 300
