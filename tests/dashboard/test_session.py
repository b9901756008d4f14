import pytest

from meterhouse import limits
from meterhouse.dashboard.client import Space
from meterhouse.dashboard.session import Session, Sessions, Visitor
from meterhouse.errors import StoreError
from meterhouse.ledger import users
from meterhouse.ledger.tables import dashboard_sessions
from tests.api.local import LocalServer

MINUTE = 60_000
LINK = limits.DASHBOARD_LINK_MINUTES_MAX * MINUTE
APART = limits.CLOCK_APART_MINUTES_MAX * MINUTE
LASTING = limits.DASHBOARD_SESSION_HOURS_MAX * 60 * MINUTE
SEEN = limits.DASHBOARD_SESSION_SEEN_SECONDS * 1_000
LIVE, TEST = Space("acct_1", livemode=True), Space("acct_1", livemode=False)
PASSWORD = "correct horse"
HERE = Visitor("192.0.2.7", "Firefox on Linux")


def sessions(local: LocalServer) -> Sessions:
    return Sessions(local.meterhouse.services.stores, local.clock)


def open_link(local: LocalServer, made: Sessions, link: str) -> str | None:
    return local.run(made.open_link(link, HERE))


def enter(local: LocalServer, made: Sessions, name: str = "ada") -> str:
    cookie = local.run(made.sign_in(name, PASSWORD, HERE))
    assert cookie is not None
    return cookie


def read(local: LocalServer, made: Sessions, cookie: str | None) -> Session:
    session = local.run(made.read(cookie))
    assert session is not None
    return session


def reads(local: LocalServer, made: Sessions, cookie: str | None) -> bool:
    return local.run(made.read(cookie)) is not None


def write_password(local: LocalServer, password: str = PASSWORD, name: str = "ada") -> None:
    """Make a user, or give them another password."""
    stores, now = local.meterhouse.services.stores, local.clock.now()
    hashed = users.hash_password(password)
    if not local.run(stores.write(users.set_password, name, hashed, now)):
        local.run(stores.write(users.create_user, name, hashed, "viewer", now))


def test_a_link_opens_a_session_of_test_mode_once(local: LocalServer) -> None:
    made = sessions(local)
    link = made.make_link()
    session = read(local, made, open_link(local, made, link))
    assert (session.name, session.may_change) == ("operator", True)
    assert session.refuses(LIVE) == session.hint != ""
    assert not session.refuses(TEST)
    assert open_link(local, made, link) is None


def test_a_guess_opens_nothing_and_leaves_the_link_as_it_is(local: LocalServer) -> None:
    made = sessions(local)
    assert open_link(local, made, "") is None
    link = made.make_link()
    for guess in ("", link[:-1], link + "x", "\N{SNOWMAN}"):
        assert open_link(local, made, guess) is None
    assert open_link(local, made, link)


@pytest.mark.parametrize(("passed", "opens"), [(LINK, True), (LINK + 1, False)])
def test_a_link_holds_for_a_while(local: LocalServer, passed: int, opens: bool) -> None:
    made = sessions(local)
    link = made.make_link()
    local.clock.advance(passed)
    assert (open_link(local, made, link) is not None) == opens
    local.clock.advance(-passed)
    assert open_link(local, made, link) is None


def test_a_new_link_ends_the_one_before(local: LocalServer) -> None:
    made = sessions(local)
    former, link = made.make_link(), made.make_link()
    assert open_link(local, made, former) is None
    assert open_link(local, made, link)


def test_the_session_of_a_link_ends_with_the_server(local: LocalServer) -> None:
    write_password(local)
    made, again = sessions(local), sessions(local)
    link, ada = open_link(local, made, made.make_link()), enter(local, made)
    assert reads(local, made, link)
    local.run(again.start())
    assert not reads(local, again, link)
    assert reads(local, again, ada)  # a user's outlives the server


@pytest.mark.parametrize(
    ("passed", "holds"),
    [(LASTING, True), (LASTING + 1, False), (-APART, True), (-APART - 1, False)],
)
def test_a_session_lasts_for_hours(local: LocalServer, passed: int, holds: bool) -> None:
    """One from the future was made by a clock that was ahead, and would last too long."""
    made = sessions(local)
    cookie = open_link(local, made, made.make_link())
    local.clock.advance(passed)
    assert reads(local, made, cookie) == holds


def test_the_ledger_does_not_know_what_a_browser_holds(local: LocalServer) -> None:
    made = sessions(local)
    cookie = open_link(local, made, made.make_link())
    assert cookie is not None
    session = read(local, made, cookie)
    with local.meterhouse.ledger.read() as connection:
        [row] = connection.execute(dashboard_sessions.select()).mappings().all()
    for value in row.values():
        for secret in (cookie, session.csrf):
            assert secret.encode() not in (value if isinstance(value, bytes) else b"")
            assert secret not in str(value)
        assert not reads(local, made, str(value))
    for guess in (None, "", ".", cookie[:-1], f"{cookie}x", row["digest"].hex(), "\N{SNOWMAN}"):
        assert not reads(local, made, guess)


def test_another_password_ends_the_sessions_of_a_user(local: LocalServer) -> None:
    made = sessions(local)
    write_password(local)
    assert local.run(made.sign_in("ada", "wrong horse", HERE)) is None
    assert local.run(made.sign_in("bob", PASSWORD, HERE)) is None
    cookie = enter(local, made)
    session = read(local, made, cookie)
    assert (session.name, session.may_change) == ("ada", False)
    assert not any(session.refuses(space) for space in (LIVE, TEST))
    write_password(local, "battery staple")  # in the same millisecond
    assert not reads(local, made, cookie)


def test_whoever_is_deleted_is_signed_out(local: LocalServer) -> None:
    made, stores = sessions(local), local.meterhouse.services.stores
    for name in ("ada", "bob"):
        write_password(local, name=name)
    ada, bob = (enter(local, made, name) for name in ("ada", "bob"))
    local.run(stores.write(users.delete_user, "ada"))
    assert not reads(local, made, ada)
    assert reads(local, made, bob)
    write_password(local)
    assert not reads(local, made, ada)


def test_a_password_that_changes_while_it_is_checked_signs_nobody_in(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sessions(local)
    write_password(local)
    kept = users.find_hash

    async def change_meanwhile(work: object, name: str) -> str | None:
        assert work is kept
        with local.meterhouse.ledger.write() as connection:
            found = kept(connection, name)
            users.set_password(connection, name, users.hash_password("battery staple"), 0)
        return found

    monkeypatch.setattr(made._stores, "read", change_meanwhile)
    assert local.run(made.sign_in("ada", PASSWORD, HERE)) is None


def test_only_our_own_pages_know_the_token_of_a_session(local: LocalServer) -> None:
    made = sessions(local)
    one, two = (read(local, made, open_link(local, made, made.make_link())) for _ in range(2))
    assert one.confirms(one.csrf)
    for guess in ("", one.csrf[:-1], two.csrf, "\N{SNOWMAN}"):
        assert not one.confirms(guess)


def test_a_session_that_is_ended_stays_so(local: LocalServer) -> None:
    made = sessions(local)
    write_password(local)
    first, second, third = (enter(local, made) for _ in range(3))
    local.run(made.end(first, "::1"))
    assert not reads(local, made, first)
    session = read(local, made, second)
    assert local.run(made.end_one(session, read(local, made, third).id, "::1"))
    assert not reads(local, made, third)
    assert not local.run(made.end_one(session, "dses_none", "::1"))
    assert reads(local, made, second)


def test_nobody_ends_the_sessions_of_another(local: LocalServer) -> None:
    made = sessions(local)
    for name in ("ada", "bob"):
        write_password(local, name=name)
    ada, again, bob = (enter(local, made, name) for name in ("ada", "ada", "bob"))
    link = open_link(local, made, made.make_link())
    own = read(local, made, ada)
    for other in (bob, link):
        assert not local.run(made.end_one(own, read(local, made, other).id, "::1"))
    local.run(made.end_all(own, "::1"))
    assert [reads(local, made, held) for held in (ada, again, bob, link)] == [
        False,
        False,
        True,
        True,
    ]


def test_own_sessions_are_told_apart(local: LocalServer) -> None:
    made = sessions(local)
    for name in ("ada", "bob"):
        write_password(local, name=name)
    first = read(local, made, enter(local, made))
    enter(local, made, "bob")
    local.clock.advance(SEEN)
    second = read(local, made, local.run(made.sign_in("ada", PASSWORD, Visitor("", ""))))
    found = local.run(made.own(first))
    assert [(one.id, one.user, one.address, one.browser) for one in found] == [
        (second.id, "ada", "", ""),
        (first.id, "ada", *HERE[:2]),
    ]
    local.clock.advance(LASTING)
    assert [one.id for one in local.run(made.own(first))] == [second.id]


def test_a_browser_that_signs_in_again_has_one_session(local: LocalServer) -> None:
    made = sessions(local)
    write_password(local)
    former = enter(local, made)
    again = local.run(made.sign_in("ada", PASSWORD, HERE._replace(former=former)))
    assert not reads(local, made, former)
    assert reads(local, made, again)


def test_it_is_noted_once_in_a_while_when_a_session_was_seen(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, stores = sessions(local), local.meterhouse.services.stores
    write_password(local)
    cookie = enter(local, made)
    begun = local.clock.now()
    seen = []
    for passed in (SEEN - 1, 1, 1):
        local.clock.advance(passed)
        session = read(local, made, cookie)
        seen.append(local.run(made.own(session))[0].last_seen - begun)
    assert seen == [0, SEEN, SEEN]

    async def refuse(*_: object) -> None:
        raise StoreError("The disk is full.")

    local.clock.advance(SEEN)
    with monkeypatch.context() as patched:
        patched.setattr(stores, "write", refuse)
        assert reads(local, made, cookie)  # one may look at what cannot be written to


def test_a_user_has_only_so_many_sessions(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DASHBOARD_SESSION_ITEMS_MAX", 2)
    made = sessions(local)
    for name in ("ada", "bob"):
        write_password(local, name=name)
    bob, first, second = (enter(local, made, name) for name in ("bob", "ada", "ada"))
    local.clock.advance(SEEN)
    assert reads(local, made, first)
    third = enter(local, made)
    assert [reads(local, made, held) for held in (bob, first, second, third)] == [
        True,
        True,
        False,
        True,
    ]
