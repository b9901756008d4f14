import itertools

import pytest

from meterhouse import limits
from meterhouse.ledger import dashboard_sessions, users
from meterhouse.ledger.dashboard_sessions import DashboardSession
from meterhouse.ledger.engine import Ledger

MADE, ENDS = 1_000, 1_000_000
_numbers = itertools.count()


def make_user(ledger: Ledger, name: str, kept: str = "a hash") -> None:
    with ledger.write() as connection:
        users.create_user(connection, name, kept, "viewer", MADE)


def sign_in(
    ledger: Ledger, name: str | None, kept: str = "a hash", now: int = MADE
) -> bytes | None:
    """Sign a user in; return the digest of what the browser holds, None where it was refused."""
    digest = next(_numbers).to_bytes(32)
    with ledger.write() as connection:
        made = dashboard_sessions.create(
            connection,
            digest,
            (name, kept) if name else None,
            address="192.0.2.7",
            browser="Firefox on Linux",
            now=now,
            expires_at=ENDS + now - MADE,
        )
    return digest if made else None


def find(ledger: Ledger, digest: bytes | None) -> DashboardSession | None:
    with ledger.read() as connection:
        return dashboard_sessions.find(connection, digest or b"")


def listed(ledger: Ledger, now: int = MADE) -> list[str | None]:
    with ledger.read() as connection:
        return [one.user for one in dashboard_sessions.list_sessions(connection, now)]


def test_a_session_is_found_by_the_digest_of_its_token(ledger: Ledger) -> None:
    make_user(ledger, "ada")
    found, link = (find(ledger, sign_in(ledger, name)) for name in ("ada", None))
    assert found == DashboardSession(
        id=found.id if found else "",
        user="ada",
        role="viewer",
        accounts=None,
        livemode=None,
        address="192.0.2.7",
        browser="Firefox on Linux",
        created=MADE,
        last_seen=MADE,
        expires_at=ENDS,
    )
    assert link is not None
    assert (link.user, link.role) == (None, None)
    assert find(ledger, b"x" * 32) is None


def test_who_is_gone_or_has_another_password_is_not_signed_in(ledger: Ledger) -> None:
    make_user(ledger, "ada")
    assert sign_in(ledger, "ada", "another hash") is None
    assert sign_in(ledger, "bob") is None
    assert listed(ledger) == []


def test_another_password_and_deletion_end_the_sessions_of_a_user(ledger: Ledger) -> None:
    for name in ("ada", "bob", "cleo"):
        make_user(ledger, name)
        sign_in(ledger, name)
    sign_in(ledger, None)
    with ledger.write() as connection:
        users.set_password(connection, "ada", "another hash", MADE)
        users.delete_user(connection, "bob")
    assert listed(ledger) == [None, "cleo"]


def test_it_is_noted_at_most_once_a_minute_when_one_was_seen(ledger: Ledger) -> None:
    digest = sign_in(ledger, None)
    minute = limits.DASHBOARD_SESSION_SEEN_SECONDS * 1_000
    seen = []
    for now in (MADE + minute - 1, MADE + minute, MADE + minute + 1, MADE):
        one = find(ledger, digest)
        assert one is not None
        with ledger.write() as connection:
            dashboard_sessions.saw(connection, one.id, now)
        after = find(ledger, digest)
        assert after is not None
        seen.append(after.last_seen - MADE)
    assert seen == [0, minute, minute, minute]


@pytest.mark.parametrize(("now", "goes"), [(ENDS, False), (ENDS + 1, True)])
def test_a_session_goes_when_its_time_is_over(ledger: Ledger, now: int, goes: bool) -> None:
    one = find(ledger, sign_in(ledger, None))
    later = find(ledger, sign_in(ledger, None, now=MADE + 1))
    assert one is not None
    assert later is not None
    with ledger.read() as connection:
        held = dashboard_sessions.still_held(connection, [one.id, later.id, "dses_none"], now)
    assert held == {later.id} | (set() if goes else {one.id})
    assert len(listed(ledger, now)) == 2 - goes
    with ledger.write() as connection:
        assert dashboard_sessions.expire(connection, now, 10) == goes


def test_sessions_expire_in_chunks_the_oldest_first(ledger: Ledger) -> None:
    first, *_ = [sign_in(ledger, None, now=MADE + passed) for passed in range(3)]
    with ledger.write() as connection:
        gone = [dashboard_sessions.expire(connection, ENDS + 10, rows) for rows in (1, 5)]
    assert gone == [1, 2]
    assert find(ledger, first) is None
