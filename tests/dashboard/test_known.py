import asyncio
from collections.abc import Mapping

import msgspec
import pytest

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.dashboard.known import Browsers
from meterhouse.wire.signing import signing_keys
from meterhouse.wire.token import seal
from tests.dashboard.samples import at
from tests.signing import fixed

LASTING = limits.SIGN_IN_KNOWN_DAYS * 86_400_000
APART = limits.CLOCK_APART_MINUTES_MAX * 60_000
SECRET = b"s" * 32
NAMES = ("ada", "Ada", "", "\N{SNOWMAN} " * 50)


class Known:
    """The cookies of a server with this secret."""

    def __init__(self, clock: ManualClock, secret: bytes = SECRET) -> None:
        self._browsers = Browsers(clock, fixed(secret))

    def remember(self, name: str) -> tuple[str, str]:
        return asyncio.run(self._browsers.remember(name))

    def recognize(self, cookies: Mapping[str, str], name: str) -> str | None:
        return asyncio.run(self._browsers.recognize(cookies, name))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(at("2026-11-21"))


@pytest.fixture
def browsers(clock: ManualClock) -> Known:
    return Known(clock)


def test_a_browser_is_known_by_each_name_that_signed_in(browsers: Known) -> None:
    cookies = dict(browsers.remember(name) for name in NAMES)
    found = [browsers.recognize(cookies, name) for name in NAMES]
    assert len({one for one in found if one}) == len(NAMES)
    assert browsers.recognize(cookies, "bob") is None
    assert browsers.recognize({}, "ada") is None


def test_two_browsers_are_told_apart(browsers: Known) -> None:
    one, two = (dict([browsers.remember("ada")]) for _ in range(2))
    assert browsers.recognize(one, "ada") != browsers.recognize(two, "ada")


def test_a_cookie_tells_no_name(browsers: Known) -> None:
    assert "ada" not in "".join(browsers.remember("ada"))


@pytest.mark.parametrize(
    ("passed", "known"),
    [(LASTING, True), (LASTING + 1, False), (-APART, True), (-APART - 1, False)],
)
def test_a_browser_is_known_for_a_while(
    clock: ManualClock, browsers: Known, passed: int, known: bool
) -> None:
    cookies = dict([browsers.remember("ada")])
    clock.advance(passed)
    assert (browsers.recognize(cookies, "ada") is not None) == known


def test_what_we_did_not_sign_or_not_for_this_name_makes_nobody_known(
    clock: ManualClock, browsers: Known
) -> None:
    name, value = browsers.remember("ada")
    _, of_another = Known(clock, b"t" * 32).remember("ada")
    _, of_bob = browsers.remember("bob")
    no_such = seal(
        "known_", msgspec.msgpack.encode({"who": "ada"}), signing_keys(SECRET).known_browsers
    )
    for changed in ("", ".", value[:-1], "x" + value, of_another, of_bob, no_such):
        assert browsers.recognize({name: changed}, "ada") is None
