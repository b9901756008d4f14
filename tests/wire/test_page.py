import pytest

from meterhouse.errors import Refusal
from meterhouse.wire.page import PageParams, list_object
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
