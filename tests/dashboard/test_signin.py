from pathlib import Path

import pytest

from tests.api.house import House, housing


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
    ],
)
def test_signing_in_leads_to_a_page_of_the_dashboard(house: House, asked: str, page: str) -> None:
    assert house.meterhouse.dashboard._door._within(asked) == page


def test_the_cookie_is_for_our_own_pages(house: House) -> None:
    assert {"httponly", "samesite=lax", "path=/dashboard"} <= entered(house)


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
    with housing(tmp_path, trusted_proxies=trusted) as house:
        assert ("secure" in entered(house, headers)) == secure


def entered(house: House, headers: dict[str, str] | None = None) -> set[str]:
    """Sign in by the link; return what is said of the cookie."""
    path = house.meterhouse.dashboard.open_path()
    told = house.request("GET", path, headers=headers).headers["set-cookie"]
    return {part.strip().lower() for part in told.split(";")}


def test_signing_out_takes_the_cookie_back(house: House) -> None:
    answer = house.request("POST", "/dashboard/sign-out")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/dashboard/sign-in"
    assert "max-age=0" in answer.headers["set-cookie"].lower()
