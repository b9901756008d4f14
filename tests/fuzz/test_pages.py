"""Somebody who is signed in: whatever they ask for and whatever they change, no page fails."""

import re
from importlib.resources import files
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.dashboard.site import ROWS, Row
from tests.api.local import LocalServer
from tests.api.meterhouse.samples import stream, wrong
from tests.fuzz.asgi import Ask, ask, check
from tests.fuzz.examples import examples
from tests.fuzz.words import HEADERS, TEXTS, bodies, paths, queries

TEMPLATES = files("meterhouse.dashboard") / "templates"
SPACE = "/dashboard/{account}/test"
_NAME = re.compile(r'\bname="([a-z_.]+)"')


class Visitor:
    """Somebody who is signed in as an admin, and what they may see."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        meter, customer = local.meter(), local.customer()
        stream(local, wrong("odd", customer))
        opened = local.request("GET", local.meterhouse.dashboard.open_path())
        self.cookie = "; ".join(f"{name}={value}" for name, value in opened.cookies.items())
        account = local.request("GET", "/v1/account").json()["id"]
        self.home = f"/dashboard/{account}/test"
        page = local.request("GET", f"{self.home}/meters", headers={"cookie": self.cookie}).text
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        assert found is not None
        self.csrf = found[1]
        self.texts = st.sampled_from([meter, customer, account, "odd", "day", "30d"]) | TEXTS


@pytest.fixture(scope="module")
def visitor(local: LocalServer) -> Visitor:
    return Visitor(local)


NAMES = sorted(
    {
        *(name for one in TEMPLATES.iterdir() for name in _NAME.findall(one.read_text())),
        *("after", "before", "top", "other", "api_version", "dimension.region", "tenant.a"),
    }
)


@st.composite
def _pairs(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> list[tuple[str, str]]:
    return draw(st.lists(st.tuples(st.sampled_from(NAMES) | TEXTS, texts), max_size=6))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
@examples(8)
@given(data=st.data())
def test_any_page(visitor: Visitor, row: Row, data: st.DataObject) -> None:
    said = [("csrf", visitor.csrf), *data.draw(_pairs(visitor.texts))]
    headers, body = data.draw(bodies(st.just(urlencode(said).encode())))
    request = Ask(
        data.draw(st.sampled_from([row.method, row.method, "HEAD"])),
        data.draw(paths([visitor.home + row.path, SPACE + row.path], visitor.texts)),
        data.draw(_pairs(visitor.texts).map(lambda pairs: urlencode(pairs).encode()) | queries()),
        ((b"cookie", visitor.cookie.encode()), *headers, *data.draw(HEADERS)),
        body,
    )
    check(request, ask(visitor.local, request))
