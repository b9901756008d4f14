import pytest

from meterhouse.dashboard import signin
from tests.api.house import House


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
def test_signing_in_leads_to_a_page_of_the_dashboard(asked: str, page: str) -> None:
    assert signin._within(asked) == page


@pytest.mark.parametrize(
    ("headers", "secure"), [({}, False), ({"x-forwarded-proto": "https"}, True)]
)
def test_the_cookie_is_for_our_own_pages(
    house: House, headers: dict[str, str], secure: bool
) -> None:
    path = house.meterhouse.dashboard.open_path()
    told = house.request("GET", path, headers=headers).headers["set-cookie"]
    said = {part.strip().lower() for part in told.split(";")}
    assert {"httponly", "samesite=lax", "path=/dashboard"} <= said
    assert ("secure" in said) == secure


def test_signing_out_takes_the_cookie_back(house: House) -> None:
    answer = house.request("POST", "/dashboard/sign-out")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/dashboard/sign-in"
    assert "max-age=0" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://meterhouse", 303),
        ("https://meterhouse", 303),  # behind a proxy
        ("http://meterhouse:81", 403),
        ("https://evil.example", 403),
        ("meterhouse", 403),
        ("null", 403),
        ("http://[", 403),
        ("", 403),
    ],
)
def test_a_form_comes_from_our_own_origin(house: House, origin: str, status: int) -> None:
    answer = house.request("POST", "/dashboard/sign-out", headers={"origin": origin})
    assert answer.status_code == status
