import re
from html import unescape
from typing import Any

import httpx
import pytest
from markupsafe import escape
from starlette.types import Message

from meterhouse.dashboard.session import COOKIE
from meterhouse.dashboard.site import ROWS
from meterhouse.ledger import users
from tests.api.local import LocalServer
from tests.api.meterhouse.samples import stream, wrong
from tests.odd import FEW
from tests.server import LIVE_KEY, TEST_KEY

_OF_ONE = {"/customer", "/event"}  # which a parameter names
PAGES = [
    row.path
    for row in ROWS
    if row.method == "GET" and "{" not in row.path and row.path not in _OF_ONE
]
CHANGES = [row.path for row in ROWS if row.method == "POST"]


def cookie(local: LocalServer) -> str:
    answer = local.request("GET", local.meterhouse.dashboard.open_path())
    assert answer.status_code == 303
    return answer.cookies[COOKIE]


def visit(
    local: LocalServer, path: str, held: str, method: str = "GET", **details: Any
) -> httpx.Response:
    account = local.request("GET", "/v1/account").json()["id"]
    home, mode = details.pop("home", "/dashboard"), details.pop("mode", "test")
    headers = {"cookie": f"{COOKIE}={held}"} | details.pop("more", {})
    return local.request(method, f"{home}/{account}/{mode}{path}", headers=headers, **details)


@pytest.mark.parametrize("path", [path for path in PAGES if "/live/" not in path])
def test_a_page_shows_no_secret_and_forbids_foreign_scripts(local: LocalServer, path: str) -> None:
    meter = local.meter()
    answer = visit(local, path, cookie(local), params={"meter": meter} if "usage" in path else {})
    assert answer.status_code == 200, answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe-inline" not in policy
    for secret in (TEST_KEY, LIVE_KEY, local.meterhouse.services.operator_token):
        assert secret not in answer.text


def test_head_is_answered_like_get_and_ends(local: LocalServer) -> None:
    held, asked = cookie(local), {"meter": local.meter()}
    for path in PAGES:
        head = visit(local, path, held, "HEAD", params=asked if "usage" in path else {})
        assert (head.status_code, head.content) == (200, b""), path
        live = head.headers["content-type"].startswith("text/event-stream")
        assert live == ("/live/" in path)
        assert visit(local, path, "made.up", "HEAD").status_code == 303


@pytest.mark.parametrize("path", PAGES)
def test_nobody_looks_without_signing_in(local: LocalServer, path: str) -> None:
    answer = visit(local, path, "made.up")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/dashboard/sign-in?next=")


@pytest.mark.parametrize("path", CHANGES)
def test_a_change_needs_the_token_of_our_own_pages(local: LocalServer, path: str) -> None:
    assert visit(local, path, cookie(local), "POST", data={"csrf": "guess"}).status_code == 403


def test_the_link_works_once_and_shows_no_live_data(local: LocalServer) -> None:
    path = local.meterhouse.dashboard.open_path()
    assert local.request("HEAD", path).status_code == 200
    held = local.request("GET", path).cookies[COOKIE]
    assert local.request("GET", path).status_code == 401
    page = visit(local, "", held)
    assert "/live" not in page.text.replace("/live/overview", "")
    refused = visit(local, "", held, mode="live")
    assert refused.status_code == 403
    for told in (page, refused):
        assert "meterhouse users create NAME --role admin" in told.text


def test_an_odd_identifier_is_searched_for_shown_and_resent(local: LocalServer) -> None:
    """The links are followed as a browser does, which takes `..` out of a path."""
    held = cookie(local)
    token = local.run(local.meterhouse.dashboard.sessions.read(held))
    assert token is not None
    cookies = {"cookie": f"{COOKIE}={held}"}
    stream(local, *(wrong(one, "..") for one in FEW))
    for one in FEW:
        page = visit(local, "/events", held, params={"identifier": one}).text
        to_event, to_customer = map(unescape, re.findall(r'<td><a class="cut" href="(.*?)"', page))
        shown = local.request("GET", to_event, headers=cookies)
        assert f'<h1 class="break">{escape(one)}</h1>' in shown.text
        nobody = local.request("GET", to_customer, headers=cookies)
        assert nobody.status_code == 404
        assert "No such customer: &#39;..&#39;" in nobody.text
        form = visit(local, "/errors/resend", held, params={"identifier": one}).text
        action = re.search(r'method="post" action="(\S*/errors/resend\S*)"', form)
        assert action is not None
        said = {"csrf": token.csrf, "preview": "1"}
        preview = local.request("POST", unescape(action[1]), headers=cookies, data=said)
        assert "<b>0</b> of 1 would count" in preview.text


@pytest.mark.parametrize("change", ["/dashboard/sign-in", "/dashboard/acct_x/test/meters"])
def test_a_browser_that_goes_away_in_the_middle_of_its_form_is_no_failure(
    local: LocalServer, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    coming: list[Message] = [
        {"type": "http.request", "body": b"name=ada&", "more_body": True},
        {"type": "http.disconnect"},
    ]
    told: list[Message] = []

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        told.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": change,
        "query_string": b"",
        "headers": [(b"cookie", f"{COOKIE}={cookie(local)}".encode())],
    }
    local.run(local.meterhouse.asgi(scope, receive, send))
    assert not coming
    assert told[0]["status"] == 200
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


def test_an_account_of_any_name_is_no_page(local: LocalServer) -> None:
    held = {"cookie": f"{COOKIE}={cookie(local)}"}
    for name, status in (
        ("acct_nobody", 403),
        ("%C3%A9", 404),
        ("%F0%9F%8E%A9", 404),
        ("%0A", 403),
    ):
        assert local.request("GET", f"/dashboard/{name}/test", headers=held).status_code == status


@pytest.mark.parametrize("timestamp", ["soon", "-1", "1.5", "٣", "9" * 5_000])
def test_events_are_resent_at_an_instant_that_can_be_read(
    local: LocalServer, timestamp: str
) -> None:
    held = cookie(local)
    session = local.run(local.meterhouse.dashboard.sessions.read(held))
    assert session is not None
    stream(local, wrong("a", "cus_x"))
    said = {"csrf": session.csrf, "preview": "1", "new_timestamp": timestamp}
    answer = visit(local, "/errors/resend?identifier=a", held, "POST", data=said)
    assert "unix seconds" in answer.text


def test_a_viewer_looks_and_changes_nothing(local: LocalServer) -> None:
    hashed = users.hash_password("correct horse")
    local.run(
        local.meterhouse.services.stores.write(
            users.create_user, "ada", hashed, "viewer", local.clock.now()
        )
    )
    form = {"name": "ada", "password": "correct horse"}
    entered = local.request("POST", "/dashboard/sign-in", data=form)
    assert entered.status_code == 303
    assert "httponly" in entered.headers["set-cookie"].lower()
    held = entered.cookies[COOKIE]
    page = visit(local, "/meters", held)
    assert "New meter" not in page.text
    # The token is on no page of a viewer, so it is taken from where it is signed.
    session = local.run(local.meterhouse.dashboard.sessions.read(held))
    assert session is not None
    refused = visit(local, "/meters", held, "POST", data={"csrf": session.csrf})
    assert refused.status_code == 403
    assert "viewer" in refused.text


def test_a_key_that_expires_and_is_used(local: LocalServer) -> None:
    held = cookie(local)
    page = visit(local, "/developers/keys", held)
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert token is not None
    assert (
        "<code>event_destinations: write</code> works with <code>events: read</code>" in page.text
    )
    form = {"csrf": token[1], "name": "short", "days": "1"}
    made = visit(local, "/developers/keys", held, "POST", data=form)
    secret = re.search(r"sk_test_\w{20,}", made.text)
    assert secret is not None
    assert "22 Nov 2026, 12:00:00" in made.text
    assert "<td>never</td>" in made.text
    local.request("GET", "/v1/billing/meters", key=secret[0])
    local.run(local.meterhouse._key_uses.write())
    local.clock.advance(7_200_000)
    assert "<td>2 h ago</td>" in visit(local, "/developers/keys", held).text
    local.clock.advance(79_200_000)
    held = cookie(local)
    assert '<span class="badge">expired</span>' in visit(local, "/developers/keys", held).text


def test_a_key_is_shown_once(local: LocalServer) -> None:
    held = cookie(local)
    page = visit(local, "/developers/keys", held)
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert token is not None
    made = visit(local, "/developers/keys", held, "POST", data={"csrf": token[1], "name": "new"})
    secret = re.search(r"sk_test_\w{20,}", made.text)
    assert secret is not None
    assert secret[0] not in visit(local, "/developers/keys", held).text
    assert local.request("GET", "/v1/billing/meters", key=secret[0]).status_code == 200
