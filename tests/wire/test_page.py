import pytest

from meterhouse.errors import Refusal
from meterhouse.wire.page import (
    PageParams,
    SearchParams,
    list_object,
    page_token,
    read_page_token,
    search_object,
)
from meterhouse.wire.params import read_params


def test_defaults() -> None:
    assert read_params(PageParams, {}) == PageParams(limit=10)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "abc", ""])
def test_refuses_a_limit(limit: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_params(PageParams, {"limit": limit})
    assert caught.value.param == "limit"


def test_a_page_has_one_cursor() -> None:
    assert read_params(PageParams, {"starting_after": "a"}).starting_after == "a"
    assert read_params(PageParams, {"ending_before": "b"}).ending_before == "b"
    with pytest.raises(Refusal, match="starting_after, ending_before"):
        read_params(PageParams, {"starting_after": "a", "ending_before": "b"})


def test_list_object() -> None:
    assert list_object("/v1/billing/meters", [{"id": "mtr_1"}], True) == {
        "object": "list",
        "url": "/v1/billing/meters",
        "has_more": True,
        "data": [{"id": "mtr_1"}],
    }


def test_a_token_stands_for_a_place() -> None:
    assert read_page_token(page_token("cus_é")) == "cus_é"
    for bad in ("", "x", "é", "AA==", "_w=="):
        assert read_page_token(bad) == ""


def test_a_search_goes_on_where_its_page_says() -> None:
    found = search_object("/v1/x/search", [{"id": "x_2"}, {"id": "x_1"}], has_more=True, total=9)
    assert (found["object"], found["total_count"]) == ("search_result", 9)
    asked = read_params(SearchParams, {"query": "q", "limit": "2", "page": found["next_page"]})
    assert asked.cut() == PageParams(limit=2, starting_after="x_1")
    assert read_params(SearchParams, {"query": "q"}).cut() == PageParams(limit=10)
    with pytest.raises(Refusal) as caught:
        read_params(SearchParams, {"query": "q", "page": "x"}).cut()
    assert caught.value.param == "page"
    assert search_object("/v1/x/search", [], has_more=False)["next_page"] is None
