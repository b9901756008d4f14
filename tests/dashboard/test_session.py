import pytest

from meterhouse import limits
from meterhouse.dashboard.client import Space
from meterhouse.dashboard.session import Session, Sessions, Visitor
from meterhouse.errors import StoreError
from meterhouse.ledger import users
from meterhouse.ledger.tables import dashboard_sessions
from tests.api.services import Services

MINUTE = 60_000
LINK = limits.DASHBOARD_LINK_MINUTES_MAX * MINUTE
APART = limits.CLOCK_APART_MINUTES_MAX * MINUTE
LASTING = limits.DASHBOARD_SESSION_HOURS_MAX * 60 * MINUTE
SEEN = limits.DASHBOARD_SESSION_SEEN_SECONDS * 1_000
LIVE, TEST = Space("acct_1", livemode=True), Space("acct_1", livemode=False)
PASSWORD = "correct horse"
HERE = Visitor("192.0.2.7", "Firefox on Linux")


def sessions(services: Services) -> Sessions:
    return Sessions(services.meterhouse.services.stores, services.clock)


def open_link(services: Services, made: Sessions, link: str) -> str | None:
    return services.run(made.open_link(link, HERE))


def enter(services: Services, made: Sessions, name: str = "ada") -> str:
    cookie = services.run(made.sign_in(name, PASSWORD, HERE))
    assert cookie is not None
    return cookie


def read(services: Services, made: Sessions, cookie: str | None) -> Session:
    session = services.run(made.read(cookie))
    assert session is not None
    return session


def reads(services: Services, made: Sessions, cookie: str | None) -> bool:
    return services.run(made.read(cookie)) is not None


def write_password(services: Services, password: str = PASSWORD, name: str = "ada") -> None:
    """Make a user, or give them another password."""
    stores, now = services.meterhouse.services.stores, services.clock.now()
    hashed = users.hash_password(password)
    if not services.run(stores.write(users.set_password, name, hashed, now)):
        services.run(stores.write(users.create_user, name, hashed, "viewer", now))


def test_a_link_opens_a_session_of_test_mode_once(services: Services) -> None:
    made = sessions(services)
    link = made.make_link()
    session = read(services, made, open_link(services, made, link))
    assert (session.name, session.may_change) == ("operator", True)
    assert session.refuses(LIVE) == session.hint != ""
    assert not session.refuses(TEST)
    assert open_link(services, made, link) is None


def test_a_guess_opens_nothing_and_leaves_the_link_as_it_is(services: Services) -> None:
    made = sessions(services)
    assert open_link(services, made, "") is None
    link = made.make_link()
    for guess in ("", link[:-1], link + "x", "\N{SNOWMAN}"):
        assert open_link(services, made, guess) is None
    assert open_link(services, made, link)


@pytest.mark.parametrize(("passed", "opens"), [(LINK, True), (LINK + 1, False)])
def test_a_link_holds_for_a_while(services: Services, passed: int, opens: bool) -> None:
    made = sessions(services)
    link = made.make_link()
    services.clock.advance(passed)
    assert (open_link(services, made, link) is not None) == opens
    services.clock.advance(-passed)
    assert open_link(services, made, link) is None


def test_a_new_link_ends_the_one_before(services: Services) -> None:
    made = sessions(services)
    former, link = made.make_link(), made.make_link()
    assert open_link(services, made, former) is None
    assert open_link(services, made, link)


def test_the_session_of_a_link_ends_with_the_server(services: Services) -> None:
    write_password(services)
    made, again = sessions(services), sessions(services)
    link, ada = open_link(services, made, made.make_link()), enter(services, made)
    assert reads(services, made, link)
    services.run(again.start())
    assert not reads(services, again, link)
    assert reads(services, again, ada)  # a user's outlives the server


@pytest.mark.parametrize(
    ("passed", "holds"),
    [(LASTING, True), (LASTING + 1, False), (-APART, True), (-APART - 1, False)],
)
def test_a_session_lasts_for_hours(services: Services, passed: int, holds: bool) -> None:
    """One from the future was made by a clock that was ahead, and would last too long."""
    made = sessions(services)
    cookie = open_link(services, made, made.make_link())
    services.clock.advance(passed)
    assert reads(services, made, cookie) == holds


def test_the_ledger_does_not_know_what_a_browser_holds(services: Services) -> None:
    made = sessions(services)
    cookie = open_link(services, made, made.make_link())
    assert cookie is not None
    session = read(services, made, cookie)
    with services.meterhouse.ledger.read() as connection:
        [row] = connection.execute(dashboard_sessions.select()).mappings().all()
    for value in row.values():
        for secret in (cookie, session.csrf):
            assert secret.encode() not in (value if isinstance(value, bytes) else b"")
            assert secret not in str(value)
        assert not reads(services, made, str(value))
    for guess in (None, "", ".", cookie[:-1], f"{cookie}x", row["digest"].hex(), "\N{SNOWMAN}"):
        assert not reads(services, made, guess)


def test_another_password_ends_the_sessions_of_a_user(services: Services) -> None:
    made = sessions(services)
    write_password(services)
    assert services.run(made.sign_in("ada", "wrong horse", HERE)) is None
    assert services.run(made.sign_in("bob", PASSWORD, HERE)) is None
    cookie = enter(services, made)
    session = read(services, made, cookie)
    assert (session.name, session.may_change) == ("ada", False)
    assert not any(session.refuses(space) for space in (LIVE, TEST))
    write_password(services, "battery staple")  # in the same millisecond
    assert not reads(services, made, cookie)


def test_whoever_is_deleted_is_signed_out(services: Services) -> None:
    made, stores = sessions(services), services.meterhouse.services.stores
    for name in ("ada", "bob"):
        write_password(services, name=name)
    ada, bob = (enter(services, made, name) for name in ("ada", "bob"))
    services.run(stores.write(users.delete_user, "ada"))
    assert not reads(services, made, ada)
    assert reads(services, made, bob)
    write_password(services)
    assert not reads(services, made, ada)


def test_a_password_that_changes_while_it_is_checked_signs_nobody_in(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sessions(services)
    write_password(services)
    kept = users.find_hash

    async def change_meanwhile(work: object, name: str) -> str | None:
        assert work is kept
        with services.meterhouse.ledger.write() as connection:
            found = kept(connection, name)
            users.set_password(connection, name, users.hash_password("battery staple"), 0)
        return found

    monkeypatch.setattr(made._stores, "read", change_meanwhile)
    assert services.run(made.sign_in("ada", PASSWORD, HERE)) is None


def test_only_our_own_pages_know_the_token_of_a_session(services: Services) -> None:
    made = sessions(services)
    one, two = (read(services, made, open_link(services, made, made.make_link())) for _ in range(2))
    assert one.confirms(one.csrf)
    for guess in ("", one.csrf[:-1], two.csrf, "\N{SNOWMAN}"):
        assert not one.confirms(guess)


def test_a_session_that_is_ended_stays_so(services: Services) -> None:
    made = sessions(services)
    write_password(services)
    first, second, third = (enter(services, made) for _ in range(3))
    services.run(made.end(first, "::1"))
    assert not reads(services, made, first)
    session = read(services, made, second)
    assert services.run(made.end_one(session, read(services, made, third).id, "::1"))
    assert not reads(services, made, third)
    assert not services.run(made.end_one(session, "dses_none", "::1"))
    assert reads(services, made, second)


def test_nobody_ends_the_sessions_of_another(services: Services) -> None:
    made = sessions(services)
    for name in ("ada", "bob"):
        write_password(services, name=name)
    ada, again, bob = (enter(services, made, name) for name in ("ada", "ada", "bob"))
    link = open_link(services, made, made.make_link())
    own = read(services, made, ada)
    for other in (bob, link):
        assert not services.run(made.end_one(own, read(services, made, other).id, "::1"))
    services.run(made.end_all(own, "::1"))
    assert [reads(services, made, held) for held in (ada, again, bob, link)] == [
        False,
        False,
        True,
        True,
    ]


def test_own_sessions_are_told_apart(services: Services) -> None:
    made = sessions(services)
    for name in ("ada", "bob"):
        write_password(services, name=name)
    first = read(services, made, enter(services, made))
    enter(services, made, "bob")
    services.clock.advance(SEEN)
    second = read(services, made, services.run(made.sign_in("ada", PASSWORD, Visitor("", ""))))
    found = services.run(made.own(first))
    assert [(one.id, one.user, one.address, one.browser) for one in found] == [
        (second.id, "ada", "", ""),
        (first.id, "ada", *HERE[:2]),
    ]
    services.clock.advance(LASTING)
    assert [one.id for one in services.run(made.own(first))] == [second.id]


def test_a_browser_that_signs_in_again_has_one_session(services: Services) -> None:
    made = sessions(services)
    write_password(services)
    former = enter(services, made)
    again = services.run(made.sign_in("ada", PASSWORD, HERE._replace(former=former)))
    assert not reads(services, made, former)
    assert reads(services, made, again)


def test_it_is_noted_once_in_a_while_when_a_session_was_seen(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, stores = sessions(services), services.meterhouse.services.stores
    write_password(services)
    cookie = enter(services, made)
    begun = services.clock.now()
    seen = []
    for passed in (SEEN - 1, 1, 1):
        services.clock.advance(passed)
        session = read(services, made, cookie)
        seen.append(services.run(made.own(session))[0].last_seen - begun)
    assert seen == [0, SEEN, SEEN]

    async def refuse(*_: object) -> None:
        raise StoreError("The disk is full.")

    services.clock.advance(SEEN)
    with monkeypatch.context() as patched:
        patched.setattr(stores, "write", refuse)
        assert reads(services, made, cookie)  # one may look at what cannot be written to


def test_a_user_has_only_so_many_sessions(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DASHBOARD_SESSION_ITEMS_MAX", 2)
    made = sessions(services)
    for name in ("ada", "bob"):
        write_password(services, name=name)
    bob, first, second = (enter(services, made, name) for name in ("bob", "ada", "ada"))
    services.clock.advance(SEEN)
    assert reads(services, made, first)
    third = enter(services, made)
    assert [reads(services, made, held) for held in (bob, first, second, third)] == [
        True,
        True,
        False,
        True,
    ]
