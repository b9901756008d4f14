import asyncio
import gzip
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from meterhouse import limits
from meterhouse.dashboard.session import COOKIE
from meterhouse.ledger import users
from tests.api.local import LocalServer, local_server

PASSWORD = "correct horse"
HERE, ADDRESS = limits.SIGN_IN_HERE_ATTEMPTS, limits.SIGN_IN_ADDRESS_ATTEMPTS


@pytest.mark.parametrize(
    ("asked", "page"),
    [
        ("/dashboard/acct_1/live/usage?meter=m#x", "/dashboard/acct_1/live/usage?meter=m#x"),
        ("", "/dashboard"),
        ("/dashboard", "/dashboard"),
        ("/dashboardish", "/dashboard"),
        ("/v1/customers", "/dashboard"),
        ("dashboard/", "/dashboard"),
        ("//evil.example/dashboard/", "/dashboard"),
        ("https://evil.example/dashboard/", "/dashboard"),
        ("\\\\evil.example/dashboard/", "/dashboard"),
        ("javascript:alert(1)", "/dashboard"),
        ("//[", "/dashboard"),
        ("/dashboard/" + "x" * limits.SIGN_IN_NEXT_CHARS_MAX, "/dashboard"),
    ],
)
def test_signing_in_leads_to_a_page_of_the_dashboard(
    local: LocalServer, asked: str, page: str
) -> None:
    assert local.meterhouse.dashboard._sign_in._within(asked) == page


def test_the_cookie_is_for_our_own_pages(local: LocalServer) -> None:
    assert {"httponly", "samesite=lax", "path=/dashboard"} <= entered(local)


@pytest.mark.parametrize(
    ("trusted", "headers", "secure"),
    [
        ("127.0.0.1", {}, False),
        ("127.0.0.1", {"x-forwarded-proto": "https"}, True),
        ("127.0.0.1", {"x-forwarded-proto": "http"}, False),
        ("none", {"x-forwarded-proto": "https"}, False),
    ],
)
def test_the_cookie_is_secure_where_a_trusted_proxy_speaks_tls(
    tmp_path: Path, trusted: str, headers: dict[str, str], secure: bool
) -> None:
    with local_server(tmp_path, trusted_proxies=trusted) as local:
        assert ("secure" in entered(local, headers)) == secure


def entered(local: LocalServer, headers: dict[str, str] | None = None) -> set[str]:
    """Sign in by the link; return what is said of the cookie."""
    path = local.meterhouse.dashboard.open_path()
    told = local.request("GET", path, headers=headers).headers["set-cookie"]
    return {part.strip().lower() for part in told.split(";")}


def test_signing_out_ends_the_session_and_takes_the_cookie_back(local: LocalServer) -> None:
    held = local.request("GET", local.meterhouse.dashboard.open_path()).cookies[COOKIE]
    kept = {"cookie": f"{COOKIE}={held}"}
    inside = local.request("GET", "/dashboard", headers=kept).headers["location"]
    assert inside.endswith("/test")
    for headers in (kept, kept, {}):  # it may be gone already
        answer = local.request("POST", "/dashboard/sign-out", headers=headers)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/dashboard/sign-in"
        assert "max-age=0" in answer.headers["set-cookie"].lower()
    for path in ("/dashboard", inside):  # somebody has copied the cookie
        outside = local.request("GET", path, headers=kept).headers["location"]
        assert outside.startswith("/dashboard/sign-in")


def make_ada(local: LocalServer) -> None:
    hashed, stores = users.hash_password(PASSWORD), local.meterhouse.services.stores
    local.run(stores.write(users.create_user, "ada", hashed, "viewer", local.clock.now()))


async def ask(local: LocalServer, name: str, password: str, **details: Any) -> httpx.Response:
    form = {"name": name, "password": password, "next": details.pop("next", "")}
    return await local.ask("POST", "/dashboard/sign-in", data=form, **details)


def sign_in(local: LocalServer, name: str, password: str, **details: Any) -> httpx.Response:
    return local.run(ask(local, name, password, **details))


def codes(
    local: LocalServer, count: int, name: str, said: str = "guess", **details: Any
) -> list[int]:
    """Try so often at the same time."""

    async def work() -> list[int]:
        answers = [ask(local, name.format(n), said, **details) for n in range(count)]
        return [answer.status_code for answer in await asyncio.gather(*answers)]

    return local.run(work())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits a thousandth of what they are, and passwords cheap."""
    monkeypatch.setattr(limits, "SIGN_IN_FIRST_WAIT_MILLISECONDS", 1)
    monkeypatch.setattr(users, "matches", lambda kept, given: bool(kept) and given == PASSWORD)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first wait one that nobody is held for, and passwords cheap."""
    monkeypatch.setattr(limits, "SIGN_IN_FIRST_WAIT_MILLISECONDS", 60_000)
    monkeypatch.setattr(limits, "SIGN_IN_HELD_SECONDS_MAX", 2)
    monkeypatch.setattr(users, "matches", lambda kept, given: bool(kept) and given == PASSWORD)


@pytest.mark.usefixtures("quick")
def test_who_guesses_and_then_knows_waits_and_is_let_in(local: LocalServer) -> None:
    make_ada(local)
    assert codes(local, HERE + 3, "ada") == [401] * (HERE + 3)
    assert sign_in(local, "ada", PASSWORD).status_code == 303


@pytest.mark.usefixtures("quick")
def test_strangers_behind_one_address_close_it_to_nobody(local: LocalServer) -> None:
    make_ada(local)
    assert codes(local, ADDRESS + 5, "name {}") == [401] * (ADDRESS + 5)
    assert sign_in(local, "ada", PASSWORD).status_code == 303


@pytest.mark.usefixtures("slow")
def test_who_would_wait_too_long_is_told_when_to_come_again(local: LocalServer) -> None:
    make_ada(local)
    for name in ("ada", "nobody"):  # nothing tells who is there
        assert codes(local, HERE, name) == [401] * HERE
        told = sign_in(local, name, PASSWORD, next="/dashboard/a/test")
        assert told.status_code == 429
        assert told.headers["retry-after"] == "60"
        assert "Try again in 60 s." in told.text
        assert 'name="next" value="/dashboard/a/test"' in told.text
    local.clock.advance(60_000)
    assert sign_in(local, "ada", PASSWORD).status_code == 303


@pytest.mark.usefixtures("slow")
def test_a_browser_that_signed_in_before_passes_who_tries_its_name(local: LocalServer) -> None:
    make_ada(local)
    known = "; ".join(
        f"{name}={value}"
        for name, value in sign_in(local, "ada", PASSWORD).cookies.items()
        if "known" in name
    )
    codes(local, HERE, "ada")
    assert sign_in(local, "ada", PASSWORD).status_code == 429
    headers = {"cookie": known}
    assert sign_in(local, "bob", PASSWORD, headers=headers).status_code == 401
    assert codes(local, HERE, "ada", headers=headers) == [401] * HERE
    assert sign_in(local, "ada", PASSWORD, headers=headers).status_code == 429
    local.clock.advance(60_000)
    assert sign_in(local, "ada", PASSWORD, headers=headers).status_code == 303


@pytest.mark.usefixtures("slow")
def test_clients_of_a_trusted_proxy_are_told_apart(local: LocalServer) -> None:
    make_ada(local)
    guesser, ada = ({"x-forwarded-for": ip} for ip in ("192.0.2.1", "192.0.2.2"))
    codes(local, HERE, "ada", headers=guesser)
    assert sign_in(local, "ada", PASSWORD, headers=guesser).status_code == 429
    assert sign_in(local, "ada", PASSWORD, headers=ada).status_code == 303


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("x" * (limits.USER_NAME_CHARS_MAX + 1), PASSWORD),
        ("ada", "x" * (limits.USER_PASSWORD_CHARS_MAX + 1)),
        ("a\0da", PASSWORD),
    ],
)
@pytest.mark.usefixtures("slow")
def test_what_can_be_nobodys_is_neither_looked_for_nor_counted(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch, name: str, password: str
) -> None:
    make_ada(local)
    with monkeypatch.context() as context:
        context.delattr(users, "find_hash")
        context.delattr(users, "matches")
        assert codes(local, ADDRESS + 1, name, password) == [401] * (ADDRESS + 1)
    assert sign_in(local, "ada", PASSWORD).status_code == 303


@pytest.mark.usefixtures("quick")
def test_a_form_is_as_large_as_it_has_to_be(local: LocalServer) -> None:
    name, password = "\U0001f40e" * limits.USER_NAME_CHARS_MAX, "\U0001f40e" * 1_000
    page = "/dashboard/" + "\U0001f40e" * (limits.SIGN_IN_NEXT_CHARS_MAX - len("/dashboard/"))
    assert sign_in(local, name, password, next=page).status_code == 401
    too_much = "x" * limits.SIGN_IN_FORM_BYTES_MAX
    assert sign_in(local, "ada", PASSWORD, next=too_much).status_code == 413
    packed = gzip.compress(b"name=ada")
    headers = {"content-encoding": "gzip"}
    path = "/dashboard/sign-in"
    assert local.request("POST", path, content=packed, headers=headers).status_code == 415


def test_a_page_that_is_too_far_to_come_back_to_is_forgotten(local: LocalServer) -> None:
    page = "/dashboard/" + "x" * limits.SIGN_IN_NEXT_CHARS_MAX
    assert local.request("GET", page).headers["location"] == "/dashboard/sign-in?next="
    asked = local.request("GET", "/dashboard/sign-in", params={"next": page})
    assert 'name="next" value="/dashboard"' in asked.text


@pytest.mark.usefixtures("quick")
def test_the_log_tells_where_from_but_no_name_that_was_only_tried(
    local: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    make_ada(local)
    caplog.set_level(logging.INFO, "meterhouse.signin")
    sign_in(local, "my secret", "guess", headers={"x-forwarded-for": "192.0.2.1"})
    sign_in(local, "ada", PASSWORD, headers={"x-forwarded-for": "192.0.2.2"})
    assert [one.getMessage() for one in caplog.records if one.name == "meterhouse.signin"] == [
        "a sign-in from 192.0.2.1 failed",
        "ada signed in from 192.0.2.2",
    ]
