from pathlib import Path

from meterhouse.settings import SETTINGS
from tests.cli.samples import meterhouse

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_of_settings_is_current() -> None:
    current = PAGE.read_text() == meterhouse("settings").stdout
    assert current, "run make docs"


def test_every_setting_is_on_the_page() -> None:
    page = PAGE.read_text()
    for setting in SETTINGS:
        assert f"`{setting.variable}`" in page
        assert setting.help in page
