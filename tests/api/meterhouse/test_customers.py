import pytest

from meterhouse.limits import CUSTOMER_SEARCH_CHARS_MAX
from tests.api.local import LocalServer
from tests.api.v2.samples import done
from tests.server import LIVE_KEY

SEARCH = "/meterhouse/v1/customers"


@pytest.fixture
def customers(local: LocalServer) -> list[str]:
    people = ["Ada Lovelace", "Grace Hopper", "Ada Yonath"]
    return [local.create("/v1/customers", data={"name": name})["id"] for name in people]


def test_customers_by_a_part_of_what_they_are_called(
    local: LocalServer, customers: list[str]
) -> None:
    page = done(local.request("GET", SEARCH, params={"text": "ADA", "limit": 1}))
    assert [one["name"] for one in page["data"]] == ["Ada Yonath"]
    assert (page["url"], page["has_more"]) == (SEARCH, True)
    shown = done(local.request("GET", f"/v1/customers/{customers[2]}"))
    assert page["data"] == [shown]
    rest = {"text": "ADA", "starting_after": customers[2]}
    page = done(local.request("GET", SEARCH, params=rest))
    assert [one["id"] for one in page["data"]] == [customers[0]]
    assert not page["has_more"]


def test_without_a_text_it_is_a_list_of_all(local: LocalServer, customers: list[str]) -> None:
    page = done(local.request("GET", SEARCH))
    assert [one["id"] for one in page["data"]] == customers[::-1]
    assert done(local.request("GET", SEARCH, key=LIVE_KEY))["data"] == []


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"text": "x" * (CUSTOMER_SEARCH_CHARS_MAX + 1)}, "text"),
        ({"starting_after": "cus_none"}, "starting_after"),
    ],
)
def test_a_search_that_cannot_be(local: LocalServer, params: dict[str, str], param: str) -> None:
    refused = local.request("GET", SEARCH, params=params)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"].startswith(param)
