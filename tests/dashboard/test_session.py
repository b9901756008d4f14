import pytest

from meterhouse import limits
from meterhouse.dashboard.client import Space
from meterhouse.dashboard.session import Session, Sessions, Visitor
from meterhouse.errors import StoreError
from meterhouse.ledger import users
from meterhouse.ledger.tables import dashboard_sessions
from tests.api.house import House

MINUTE = 60_000
LINK = limits.DASHBOARD_LINK_MINUTES_MAX * MINUTE
APART = limits.CLOCK_APART_MINUTES_MAX * MINUTE
LASTING = limits.DASHBOARD_SESSION_HOURS_MAX * 60 * MINUTE
SEEN = limits.DASHBOARD_SESSION_SEEN_SECONDS * 1_000
LIVE, TEST = Space("acct_1", livemode=True), Space("acct_1", livemode=False)
PASSWORD = "correct horse"
HERE = Visitor("192.0.2.7", "Firefox on Linux")


def sessions(house: House) -> Sessions:
    return Sessions(house.meterhouse.house.stores, house.clock)


def open_link(house: House, made: Sessions, link: str) -> str | None:
    return house.run(made.open_link(link, HERE))


def enter(house: House, made: Sessions, name: str = "ada") -> str:
    cookie = house.run(made.sign_in(name, PASSWORD, HERE))
    assert cookie is not None
    return cookie


def read(house: House, made: Sessions, cookie: str | None) -> Session:
    session = house.run(made.read(cookie))
    assert session is not None
    return session


def reads(house: House, made: Sessions, cookie: str | None) -> bool:
    return house.run(made.read(cookie)) is not None


def write_password(house: House, password: str = PASSWORD, name: str = "ada") -> None:
    """Make a user, or give them another password."""
    stores, now = house.meterhouse.house.stores, house.clock.now()
    hashed = users.hash_password(password)
    if not house.run(stores.write(users.set_password, name, hashed, now)):
        house.run(stores.write(users.create_user, name, hashed, "viewer", now))


def test_a_link_opens_a_session_of_test_mode_once(house: House) -> None:
    made = sessions(house)
    link = made.make_link()
    session = read(house, made, open_link(house, made, link))
    assert (session.name, session.may_change) == ("operator", True)
    assert session.refuses(LIVE) == session.hint != ""
    assert not session.refuses(TEST)
    assert open_link(house, made, link) is None


def test_a_guess_opens_nothing_and_leaves_the_link_as_it_is(house: House) -> None:
    made = sessions(house)
    assert open_link(house, made, "") is None
    link = made.make_link()
    for guess in ("", link[:-1], link + "x", "\N{SNOWMAN}"):
        assert open_link(house, made, guess) is None
    assert open_link(house, made, link)


@pytest.mark.parametrize(("passed", "opens"), [(LINK, True), (LINK + 1, False)])
def test_a_link_holds_for_a_while(house: House, passed: int, opens: bool) -> None:
    made = sessions(house)
    link = made.make_link()
    house.clock.advance(passed)
    assert (open_link(house, made, link) is not None) == opens
    house.clock.advance(-passed)
    assert open_link(house, made, link) is None


def test_a_new_link_ends_the_one_before(house: House) -> None:
    made = sessions(house)
    former, link = made.make_link(), made.make_link()
    assert open_link(house, made, former) is None
    assert open_link(house, made, link)


def test_the_session_of_a_link_ends_with_the_server(house: House) -> None:
    write_password(house)
    made, again = sessions(house), sessions(house)
    link, ada = open_link(house, made, made.make_link()), enter(house, made)
    assert reads(house, made, link)
    house.run(again.start())
    assert not reads(house, again, link)
    assert reads(house, again, ada)  # a user's outlives the server


@pytest.mark.parametrize(
    ("passed", "holds"),
    [(LASTING, True), (LASTING + 1, False), (-APART, True), (-APART - 1, False)],
)
def test_a_session_lasts_for_hours(house: House, passed: int, holds: bool) -> None:
    """One from the future was made by a clock that was ahead, and would last too long."""
    made = sessions(house)
    cookie = open_link(house, made, made.make_link())
    house.clock.advance(passed)
    assert reads(house, made, cookie) == holds


def test_the_ledger_does_not_know_what_a_browser_holds(house: House) -> None:
    made = sessions(house)
    cookie = open_link(house, made, made.make_link())
    assert cookie is not None
    session = read(house, made, cookie)
    with house.meterhouse.ledger.read() as connection:
        [row] = connection.execute(dashboard_sessions.select()).mappings().all()
    for value in row.values():
        for secret in (cookie, session.csrf):
            assert secret.encode() not in (value if isinstance(value, bytes) else b"")
            assert secret not in str(value)
        assert not reads(house, made, str(value))
    for guess in (None, "", ".", cookie[:-1], f"{cookie}x", row["digest"].hex(), "\N{SNOWMAN}"):
        assert not reads(house, made, guess)


def test_another_password_ends_the_sessions_of_a_user(house: House) -> None:
    made = sessions(house)
    write_password(house)
    assert house.run(made.sign_in("ada", "wrong horse", HERE)) is None
    assert house.run(made.sign_in("bob", PASSWORD, HERE)) is None
    cookie = enter(house, made)
    session = read(house, made, cookie)
    assert (session.name, session.may_change) == ("ada", False)
    assert not any(session.refuses(space) for space in (LIVE, TEST))
    write_password(house, "battery staple")  # in the same millisecond
    assert not reads(house, made, cookie)


def test_whoever_is_deleted_is_signed_out(house: House) -> None:
    made, stores = sessions(house), house.meterhouse.house.stores
    for name in ("ada", "bob"):
        write_password(house, name=name)
    ada, bob = (enter(house, made, name) for name in ("ada", "bob"))
    house.run(stores.write(users.delete_user, "ada"))
    assert not reads(house, made, ada)
    assert reads(house, made, bob)
    write_password(house)
    assert not reads(house, made, ada)


def test_a_password_that_changes_while_it_is_checked_signs_nobody_in(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sessions(house)
    write_password(house)
    kept = users.find_hash

    async def change_meanwhile(work: object, name: str) -> str | None:
        assert work is kept
        with house.meterhouse.ledger.write() as connection:
            found = kept(connection, name)
            users.set_password(connection, name, users.hash_password("battery staple"), 0)
        return found

    monkeypatch.setattr(made._stores, "read", change_meanwhile)
    assert house.run(made.sign_in("ada", PASSWORD, HERE)) is None


def test_only_our_own_pages_know_the_token_of_a_session(house: House) -> None:
    made = sessions(house)
    one, two = (read(house, made, open_link(house, made, made.make_link())) for _ in range(2))
    assert one.confirms(one.csrf)
    for guess in ("", one.csrf[:-1], two.csrf, "\N{SNOWMAN}"):
        assert not one.confirms(guess)


def test_a_session_that_is_ended_stays_so(house: House) -> None:
    made = sessions(house)
    write_password(house)
    first, second, third = (enter(house, made) for _ in range(3))
    house.run(made.end(first, "::1"))
    assert not reads(house, made, first)
    session = read(house, made, second)
    assert house.run(made.end_one(session, read(house, made, third).id, "::1"))
    assert not reads(house, made, third)
    assert not house.run(made.end_one(session, "dses_none", "::1"))
    assert reads(house, made, second)


def test_nobody_ends_the_sessions_of_another(house: House) -> None:
    made = sessions(house)
    for name in ("ada", "bob"):
        write_password(house, name=name)
    ada, again, bob = (enter(house, made, name) for name in ("ada", "ada", "bob"))
    link = open_link(house, made, made.make_link())
    own = read(house, made, ada)
    for other in (bob, link):
        assert not house.run(made.end_one(own, read(house, made, other).id, "::1"))
    house.run(made.end_all(own, "::1"))
    assert [reads(house, made, held) for held in (ada, again, bob, link)] == [
        False,
        False,
        True,
        True,
    ]


def test_own_sessions_are_told_apart(house: House) -> None:
    made = sessions(house)
    for name in ("ada", "bob"):
        write_password(house, name=name)
    first = read(house, made, enter(house, made))
    enter(house, made, "bob")
    house.clock.advance(SEEN)
    second = read(house, made, house.run(made.sign_in("ada", PASSWORD, Visitor("", ""))))
    found = house.run(made.own(first))
    assert [(one.id, one.user, one.address, one.browser) for one in found] == [
        (second.id, "ada", "", ""),
        (first.id, "ada", *HERE[:2]),
    ]
    house.clock.advance(LASTING)
    assert [one.id for one in house.run(made.own(first))] == [second.id]


def test_a_browser_that_signs_in_again_has_one_session(house: House) -> None:
    made = sessions(house)
    write_password(house)
    former = enter(house, made)
    again = house.run(made.sign_in("ada", PASSWORD, HERE._replace(former=former)))
    assert not reads(house, made, former)
    assert reads(house, made, again)


def test_it_is_noted_once_in_a_while_when_a_session_was_seen(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, stores = sessions(house), house.meterhouse.house.stores
    write_password(house)
    cookie = enter(house, made)
    begun = house.clock.now()
    seen = []
    for passed in (SEEN - 1, 1, 1):
        house.clock.advance(passed)
        session = read(house, made, cookie)
        seen.append(house.run(made.own(session))[0].last_seen - begun)
    assert seen == [0, SEEN, SEEN]

    async def refuse(*_: object) -> None:
        raise StoreError("The disk is full.")

    house.clock.advance(SEEN)
    with monkeypatch.context() as patched:
        patched.setattr(stores, "write", refuse)
        assert reads(house, made, cookie)  # one may look at what cannot be written to


def test_a_user_has_only_so_many_sessions(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DASHBOARD_SESSION_ITEMS_MAX", 2)
    made = sessions(house)
    for name in ("ada", "bob"):
        write_password(house, name=name)
    bob, first, second = (enter(house, made, name) for name in ("bob", "ada", "ada"))
    house.clock.advance(SEEN)
    assert reads(house, made, first)
    third = enter(house, made)
    assert [reads(house, made, held) for held in (bob, first, second, third)] == [
        True,
        True,
        False,
        True,
    ]
