"""What a browser calls itself, in short: `Firefox on Linux`.

Browsers name each other for the sake of old sites, so the most particular name comes first. No more
is kept than what a person tells their browsers apart by.
"""

from meterhouse import limits

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def shorten(user_agent: str) -> str:
    """Return what a browser is called, or the beginning of what it says; empty if that is nothing.

    The header is https://www.rfc-editor.org/rfc/rfc9110#name-user-agent.
    """
    browser, system = _first(user_agent, _BROWSERS), _first(user_agent, _SYSTEMS)
    if browser:
        return f"{browser} on {system}" if system else browser
    said = "".join(char for char in user_agent if char.isprintable())
    return said.strip()[: limits.DASHBOARD_BROWSER_CHARS_MAX]


def _first(text: str, names: tuple[tuple[str, str], ...]) -> str:
    return next((name for mark, name in names if mark in text), "")
