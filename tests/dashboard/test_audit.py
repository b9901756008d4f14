"""Changes by the dashboard are its user's, and the page shows them to admins."""

import csv
import io
from typing import Any

import httpx
import pytest

from meterhouse.dashboard.session import COOKIE
from meterhouse.dashboard.site import ROWS
from meterhouse.ledger import users
from tests.api.local import LocalServer

LOG = "/meterhouse/v1/audit_log"
PASSWORD = "correct horse"
# Changes that are made elsewhere than by the API, which `tests.api.test_audited` walks.
OWN = {"/sessions/end", "/sessions/{id}/end"}


class Visitor:
    """Somebody who is signed in, behind a proxy."""

    def __init__(self, local: LocalServer, name: str, role: users.Role, **bound: Any) -> None:
        kept = users.hash_password(PASSWORD)
        with local.meterhouse.ledger.write() as connection:
            users.create_user(connection, name, kept, role, 0, **bound)
        self.local = local
        self.account = local.request("GET", "/v1/account").json()["id"]
        self.held = self.sign_in(name, PASSWORD).cookies[COOKIE]

    def sign_in(self, name: str, password: str) -> httpx.Response:
        more = {"x-forwarded-for": "203.0.113.7"}
        data = {"name": name, "password": password}
        return self.local.request("POST", "/dashboard/sign-in", data=data, headers=more)

    def visit(self, path: str, method: str = "GET", **details: Any) -> httpx.Response:
        headers = {"cookie": f"{COOKIE}={self.held}", "x-forwarded-for": "203.0.113.7"}
        path = f"/dashboard/{self.account}/test{path}"
        if method == "POST":
            session = self.local.run(self.local.meterhouse.dashboard.sessions.read(self.held))
            assert session is not None
            details["data"] = details.get("data", {}) | {"csrf": session.csrf}
        return self.local.request(method, path, headers=headers, **details)


def entries(local: LocalServer, **asked: str) -> list[dict[str, Any]]:
    asked = {"installation": "true"} | asked
    token = local.meterhouse.services.operator_token
    found: list[dict[str, Any]] = local.request("GET", LOG, key=token, params=asked).json()["data"]
    return found


def by_ada(local: LocalServer) -> list[tuple[str, Any]]:
    found = entries(local, actor="ada", limit="50")
    assert {(one["actor"]["type"], one["ip_address"]) for one in found} == {("user", "203.0.113.7")}
    return [(one["action"], one["account"] is None) for one in found]


def test_what_a_user_does_is_theirs_wherever_it_is_done(local: LocalServer) -> None:
    ada = Visitor(local, "ada", "admin")
    meter = local.meter()
    assert ada.visit(f"/meters/{meter}/deactivate", "POST").status_code == 303
    assert ada.visit("/developers/keys", "POST", data={"name": "by ada"}).status_code == 200
    where = {"name": "hook", "url": "https://example.com/", "event_payload": "thin"}
    assert ada.visit("/developers/destinations", "POST", data=where).status_code == 200
    asked = {"meter": meter, "range": "7d"}
    assert ada.visit("/usage.csv", params=asked).status_code == 200
    second = ada.sign_in("ada", PASSWORD).cookies[COOKIE]
    assert ada.visit("/sessions/end", "POST").status_code == 303
    assert second != ada.held
    assert by_ada(local) == [
        ("dashboard_session.ended", True),
        ("dashboard_session.ended", True),
        ("dashboard_session.created", True),
        ("usage.exported", False),
        ("event_destination.created", False),
        ("api_key.created", False),
        ("meter.deactivated", False),
        ("dashboard_session.created", True),
    ]


def test_the_changes_that_are_no_calls_of_the_api_are_known() -> None:
    assert {row.path for row in ROWS if row.method == "POST" and row.own} == OWN


def test_signing_in_and_out_and_failing(local: LocalServer) -> None:
    ada = Visitor(local, "ada", "viewer")
    for name in ("ada", "a password, by mistake"):
        assert ada.sign_in(name, "wrong").status_code == 401
    cookie = {"cookie": f"{COOKIE}={ada.held}"}
    for _ in range(2):  # the second time there is nothing to end
        local.request("POST", "/dashboard/sign-out", headers=cookie)
    told = [(one["action"], one["actor"]["name"]) for one in entries(local)[:4]]
    assert told == [
        ("dashboard_session.ended", "ada"),
        ("dashboard_session.failed", "anonymous"),
        ("dashboard_session.failed", "anonymous"),
        ("dashboard_session.created", "ada"),
    ]
    objects = [one["object_id"] for one in entries(local, action="dashboard_session.failed")]
    assert objects == [None, "ada"]


def test_only_admins_see_the_page(local: LocalServer) -> None:
    bob = Visitor(local, "bob", "viewer")
    for path in ("/developers/audit", "/developers/audit.csv"):
        assert bob.visit(path).status_code == 403
    assert "Audit log" not in bob.visit("/developers/logs").text
    ada = Visitor(local, "ada", "admin")
    assert "Audit log" in ada.visit("/developers/logs").text


def test_an_admin_who_is_bound_sees_nothing_of_the_installation(local: LocalServer) -> None:
    account = local.request("GET", "/v1/account").json()["id"]
    for bound, seen in (({}, True), ({"accounts": [account]}, False), ({"livemode": False}, False)):
        name = f"ada {len(bound)} {seen}{list(bound)}"
        page = Visitor(local, name, "admin", **bound).visit("/developers/audit").text
        assert ("installation" in page) == seen
        assert "api_key.created" in page


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({}, {"meter.created", "meter.deactivated"}),
        ({"action": "meter.created"}, {"meter.created"}),
        ({"action": "meter.*"}, {"meter.created", "meter.deactivated"}),
        ({"action": "customer.*"}, set()),
        ({"actor": "nobody"}, set()),
        ({"day": "2026-11-21"}, {"meter.created", "meter.deactivated"}),
        ({"day": "2026-11-20"}, set()),
        ({"day": "soon"}, set()),
        ({"day": "9999-12-31"}, set()),
    ],
)
def test_filters(local: LocalServer, asked: dict[str, str], shown: set[str]) -> None:
    meter = local.meter()
    local.create(f"/v1/billing/meters/{meter}/deactivate")
    ada = Visitor(local, "ada", "admin")
    page = ada.visit("/developers/audit", params=asked)
    assert page.status_code == 200
    found = {one for one in ("meter.created", "meter.deactivated") if f"<code>{one}<" in page.text}
    assert found == shown


def test_csv_has_all_pages_and_no_formula(local: LocalServer) -> None:
    ada = Visitor(local, "=ada()", "admin")
    for number in range(120):
        local.meter(f"calls {number}")
    text = ada.visit("/developers/audit.csv").text
    rows = list(csv.DictReader(io.StringIO(text)))
    actions = [row["action"] for row in rows]
    assert actions.count("meter.created") == 120
    assert len({row["id"] for row in rows}) == len(rows)
    (entered,) = (row for row in rows if row["action"] == "dashboard_session.created")
    assert (entered["actor"], entered["mode"]) == ("'=ada()", "")
    assert {row["mode"] for row in rows if row["action"] == "meter.created"} == {"test"}
