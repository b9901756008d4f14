from typing import Annotated, Any

import pytest

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.wire.page import PageParams
from meterhouse.wire.params import Items
from meterhouse.wire.query import InstantRange, PageQuery, page_object, read_query


class Things(PageQuery):
    lists = frozenset({"types"})

    created: InstantRange | None = None
    types: Annotated[list[str], Items(2)] | None = None


def page(*ids: str, query: bytes = b"", has_more: bool = False) -> dict[str, Any]:
    cut = read_query(Things, query).cut()
    return page_object("/v2/things", query, cut, [{"id": one} for one in ids], has_more=has_more)


def query_of(url: str | None) -> bytes:
    assert url is not None
    path, _, query = url.partition("?")
    assert path == "/v2/things"
    return query.encode()


@pytest.mark.parametrize(
    ("query", "types"),
    [
        (b"", None),
        (b"types=a", ["a"]),
        (b"types=a&types=b", ["a", "b"]),
        (b"types[]=a&types[]=b", ["a", "b"]),
        (b"types%5B0%5D=a&types%5B1%5D=b", ["a", "b"]),
        (b"types=%3D%26", ["=&"]),
    ],
)
def test_lists_come_in_every_spelling(query: bytes, types: list[str] | None) -> None:
    assert read_query(Things, query).types == types


@pytest.mark.parametrize(
    "query",
    [
        b"types=a&types=b&types=c",
        b"types=",
        b"typez=a",
        b"limit=0",
        b"limit=101",
        b"limit=a",
        b"created=2026-11-21T00:00:00Z",
        b"expand[]=a",
    ],
)
def test_what_is_refused(query: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        read_query(Things, query)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("query", "window"),
    [
        (b"created[gte]=1970-01-01T00:00:07Z", (7_000, None)),
        (b"created[gt]=1970-01-01T00:00:07Z", (7_001, None)),
        (b"created[lt]=1970-01-01T00:00:07.250Z", (None, 7_250)),
        (b"created[lte]=1970-01-01T00:00:07.250Z", (None, 7_251)),
        (b"created[gte]=5&created[gt]=7&created[lt]=9&created[lte]=10", (7_001, 9_000)),
    ],
)
def test_a_range_of_instants(query: bytes, window: tuple[int | None, int | None]) -> None:
    created = read_query(Things, query).created
    assert created is not None
    assert created.window("created") == window


def test_an_instant_that_cannot_be_read() -> None:
    created = read_query(Things, b"created[gte]=yesterday").created
    assert created is not None
    with pytest.raises(Refusal, match=r"^created\[gte\] must be an RFC 3339 timestamp"):
        created.window("created")


def test_a_first_page() -> None:
    assert read_query(Things, b"limit=2").cut() == PageParams(limit=2)
    assert read_query(Things, b"").limit == limits.PAGE_LIMIT_DEFAULT
    assert page() == {"data": [], "next_page_url": None, "previous_page_url": None}
    assert page("a", "b")["next_page_url"] is None


def test_pages_lead_to_each_other() -> None:
    """Given five things in pages of two, the URLs lead to the end and back to the beginning."""
    first = page("e", "d", query=b"limit=2&types=a&types=%26", has_more=True)
    assert first["previous_page_url"] is None
    query = query_of(first["next_page_url"])
    asked = read_query(Things, query)
    assert (asked.limit, asked.types) == (2, ["a", "&"])
    assert asked.cut() == PageParams(limit=2, starting_after="d")

    second = page("c", "b", query=query, has_more=True)
    back = read_query(Things, query_of(second["previous_page_url"])).cut()
    assert back == PageParams(limit=2, ending_before="c")

    third = page("a", query=query_of(second["next_page_url"]))
    assert third["next_page_url"] is None
    query = query_of(third["previous_page_url"])
    again = page("c", "b", query=query, has_more=True)
    ahead = read_query(Things, query_of(again["next_page_url"])).cut()
    assert ahead == PageParams(limit=2, starting_after="b")
    start = page("e", "d", query=query_of(again["previous_page_url"]))
    assert start["previous_page_url"] is None
    assert start["next_page_url"] is not None


@pytest.mark.parametrize(
    "token", ["x", "_w==", "YWZ0ZXI6", "YWZ0ZXI=", "aW5zaWRlOmE=", "YWZ0ZXI6YQA=", "ä"]
)
def test_a_token_that_names_no_page(token: str) -> None:
    with pytest.raises(Refusal, match="page must be a token"):
        read_query(Things, f"page={token}".encode()).cut()
