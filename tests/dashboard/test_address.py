"""Which requests are taken for those of our own pages, and where the dashboard says that it is."""

import re
from pathlib import Path

import pytest

from tests.api.local import LocalServer, local_server
from tests.dashboard.test_site import PAGES, cookie, visit

PUBLIC = {"origin": "https://meters.example.com", "x-forwarded-host": "meters.example.com"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),  # no browser that knows what an origin is
        ({"origin": "http://localhost"}, 303),
        ({"origin": "https://localhost"}, 303),  # behind a proxy that passes Host on
        ({"origin": "http://localhost:81"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "localhost"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": ""}, 403),
        ({"origin": "null", "host": ""}, 403),
        (PUBLIC, 303),
        (PUBLIC | {"origin": "https://evil.example"}, 403),
        (PUBLIC | {"x-forwarded-host": "evil.example, meters.example.com"}, 303),
        (PUBLIC | {"x-forwarded-host": "meters.example.com, evil.example"}, 403),
        ({"origin": "https://meters.example.com"}, 403),
        ({"origin": "https://meters.example.com", "sec-fetch-site": "same-origin"}, 303),
        ({"sec-fetch-site": "none"}, 303),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://localhost", "sec-fetch-site": "cross-site"}, 403),
        (PUBLIC | {"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": ""}, 403),
    ],
)
def test_a_form_comes_from_our_own_pages(
    local: LocalServer, headers: dict[str, str], status: int
) -> None:
    answer = local.request("POST", "/dashboard/sign-out", headers=headers)
    assert answer.status_code == status
    assert ("came from another site" in answer.text) == (status == 403)


def test_a_refusal_says_what_a_proxy_has_to_pass_on(local: LocalServer) -> None:
    headers = {"origin": "https://meters.example.com"}
    told = local.request("POST", "/dashboard/sign-in", headers=headers).text
    assert "is of https://meters.example.com, and the server was asked as localhost." in told
    for name in ("header Host", "X-Forwarded-Host", "trusted_proxies"):
        assert name in told


def test_who_is_no_trusted_proxy_says_nothing_about_the_host(tmp_path: Path) -> None:
    with local_server(tmp_path, trusted_proxies="none") as local:
        assert local.request("POST", "/dashboard/sign-out", headers=PUBLIC).status_code == 403


@pytest.mark.parametrize("left", [True, False])
def test_every_link_begins_with_the_base_path(tmp_path: Path, left: bool) -> None:
    """Whether a proxy takes the path away or leaves it in requests."""
    asked = "/metering/dashboard" if left else "/dashboard"
    with local_server(tmp_path, base_path="/metering") as local:
        opened = local.request("GET", local.meterhouse.dashboard.open_path())
        assert opened.headers["location"] == "/metering/dashboard"
        assert "path=/metering/dashboard" in opened.headers["set-cookie"].lower()
        held = cookie(local)
        meter = local.meter()
        for path in (path for path in PAGES if "/live/" not in path):
            params = {"meter": meter} if "usage" in path else {}
            page = visit(local, path, held, home=asked, params=params)
            if page.headers["content-type"].startswith("text/html"):
                assert page.status_code == 200, path
                assert_below(page.text)
        home = local.request("GET", asked, headers={"cookie": f"meterhouse_session={held}"})
        assert home.headers["location"].startswith("/metering/dashboard/acct_")
        signin = local.request("GET", f"{asked}/meters?x=1")
        assert signin.headers["location"] == (
            "/metering/dashboard/sign-in?next=/metering/dashboard/meters%3Fx%3D1"
        )
        assert_below(local.request("GET", f"{asked}/sign-in").text)


def assert_below(page: str) -> None:
    """Check every address of a page; those of a chart stand in its data, too."""
    found = re.findall(r'(?:href|src|action|data-[\w-]+)="(/[^"]*)"', page)
    found += re.findall(r'"(/dashboard[^"]*)"', page)
    assert found
    assert [one for one in found if not one.startswith("/metering/")] == []


def test_the_api_answers_below_the_base_path_and_without_it(tmp_path: Path) -> None:
    with local_server(tmp_path, base_path="/metering") as local:
        made = local.create("/metering/v1/customers")["id"]
        listed = local.request("GET", "/v1/customers").json()
        assert [one["id"] for one in listed["data"]] == [made]
        assert listed["url"] == "/v1/customers"  # SDKs put their base URL before it
        for path in ("/meteringx/v1/customers", "/metering", "/metering/metering/v1/customers"):
            assert local.request("GET", path).status_code == 404


def test_calls_to_paste_name_the_server_as_the_browser_sees_it(tmp_path: Path) -> None:
    with local_server(tmp_path, base_path="/metering") as local:
        held = cookie(local)
        forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": "example.com:8443"}
        page = visit(local, "/meters", held, more=forwarded)
        assert "curl https://example.com:8443/metering/v1/billing/meters" in page.text
