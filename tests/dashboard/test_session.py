import pytest

from meterhouse import limits
from meterhouse.dashboard.session import Sessions
from meterhouse.ledger import users
from tests.api.house import House

MINUTE = 60_000
SECRET = b"s" * 32
LINK = limits.DASHBOARD_LINK_MINUTES_MAX * MINUTE
APART = limits.CLOCK_APART_MINUTES_MAX * MINUTE
LASTING = limits.DASHBOARD_SESSION_HOURS_MAX * 60 * MINUTE


def sessions(house: House, secret: bytes = SECRET) -> Sessions:
    return Sessions(house.meterhouse.house.stores, house.clock, secret)


def reads(house: House, made: Sessions, cookie: str | None) -> bool:
    return house.run(made.read(cookie)) is not None


def write_password(house: House, password: str) -> None:
    """Make the user ada, or give her another password."""
    stores, now = house.meterhouse.house.stores, house.clock.now()
    hashed = users.hash_password(password)
    if not house.run(stores.write(users.set_password, "ada", hashed, now)):
        house.run(stores.write(users.create_user, "ada", hashed, "viewer", now))


def test_a_link_opens_a_session_of_test_mode_once(house: House) -> None:
    made = sessions(house)
    link = made.make_link()
    cookie = made.open_link(link)
    session = house.run(made.read(cookie))
    assert session is not None
    assert (session.name, session.may_change, session.test_only) == ("operator", True, True)
    assert made.open_link(link) is None


def test_a_guess_opens_nothing_and_leaves_the_link_as_it_is(house: House) -> None:
    made = sessions(house)
    assert made.open_link("") is None
    link = made.make_link()
    for guess in ("", link[:-1], link + "x", "\N{SNOWMAN}"):
        assert made.open_link(guess) is None
    assert made.open_link(link)


@pytest.mark.parametrize(("passed", "opens"), [(LINK, True), (LINK + 1, False)])
def test_a_link_holds_for_a_while(house: House, passed: int, opens: bool) -> None:
    made = sessions(house)
    link = made.make_link()
    house.clock.advance(passed)
    assert (made.open_link(link) is not None) == opens
    house.clock.advance(-passed)
    assert made.open_link(link) is None


def test_a_new_link_ends_the_one_before(house: House) -> None:
    made = sessions(house)
    former, link = made.make_link(), made.make_link()
    assert made.open_link(former) is None
    assert made.open_link(link)


def test_the_session_of_a_link_ends_with_the_server(house: House) -> None:
    made = sessions(house)
    cookie = made.open_link(made.make_link())
    assert reads(house, made, cookie)
    assert not reads(house, sessions(house), cookie)


@pytest.mark.parametrize(
    ("passed", "holds"),
    [(LASTING, True), (LASTING + 1, False), (-APART, True), (-APART - 1, False)],
)
def test_a_session_lasts_for_hours(house: House, passed: int, holds: bool) -> None:
    """One from the future was made by a clock that was ahead, and would last too long."""
    made = sessions(house)
    cookie = made.open_link(made.make_link())
    house.clock.advance(passed)
    assert reads(house, made, cookie) == holds


def test_a_cookie_that_was_changed_does_not_hold(house: House) -> None:
    made = sessions(house)
    cookie = made.open_link(made.make_link())
    assert cookie is not None
    body, _, signature = cookie.rpartition(".")
    of_another = sessions(house, b"t" * 32)
    for changed in (None, "", ".", body, f"{body}.", f"x{cookie}", f"{body}x.{signature}"):
        assert not reads(house, made, changed)
    assert not reads(house, made, of_another.open_link(of_another.make_link()))
    assert not reads(house, made, made._signer.dumps({"name": "ada"}))


def test_another_password_ends_the_sessions_of_a_user(house: House) -> None:
    made = sessions(house)
    write_password(house, "correct horse")
    assert house.run(made.sign_in("ada", "wrong horse")) is None
    assert house.run(made.sign_in("bob", "correct horse")) is None
    cookie = house.run(made.sign_in("ada", "correct horse"))
    session = house.run(made.read(cookie))
    assert session is not None
    assert (session.name, session.may_change, session.test_only) == ("ada", False, False)
    assert reads(house, sessions(house), cookie)  # it outlives the server
    house.clock.advance(1)
    write_password(house, "battery staple")
    assert not reads(house, made, cookie)


def test_only_our_own_pages_know_the_token_of_a_session(house: House) -> None:
    made = sessions(house)
    one, two = (house.run(made.read(made.open_link(made.make_link()))) for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.confirms(one.csrf)
    for guess in ("", one.csrf[:-1], two.csrf, "\N{SNOWMAN}"):
        assert not one.confirms(guess)
