import pytest

from meterhouse import limits
from meterhouse.dashboard.user_agent import shorten

BLINK = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
MAC = "Macintosh; Intel Mac OS X 10_15_7"
PHONE = "iPhone; CPU iPhone OS 18_5 like Mac OS X"
WINDOWS = "Windows NT 10.0; Win64; x64"


@pytest.mark.parametrize(
    ("header", "short"),
    [
        (f"Mozilla/5.0 (X11; Linux x86_64) {BLINK} Safari/537.36", "Chrome on Linux"),
        (f"Mozilla/5.0 ({WINDOWS}) {BLINK} Safari/537.36 Edg/142.0.0.0", "Edge on Windows"),
        (f"Mozilla/5.0 ({WINDOWS}; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Windows"),
        (f"Mozilla/5.0 ({MAC}) {WEBKIT} Version/18.5 Safari/605.1.15", "Safari on macOS"),
        (f"Mozilla/5.0 ({PHONE}) {WEBKIT} CriOS/142.0 Safari/604.1", "Chrome on iPhone"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {BLINK} Safari/537.36", "Chrome on Android"),
        ("Firefox/145", "Firefox"),
        ("curl/8.17.0", "curl/8.17.0"),
        (" a\tb\x00 ", "ab"),
        ("x" * 1_000, "x" * limits.DASHBOARD_BROWSER_CHARS_MAX),
        ("", ""),
    ],
)
def test_a_browser_is_told_in_short(header: str, short: str) -> None:
    assert shorten(header) == short
