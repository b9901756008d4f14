"""Requests that are broken on their way: each has an answer or an end, and none is a failure."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.examples import examples
from tests.fuzz.wire import REQUESTS, STATUS, WORDS, Edit, Wire, check, edited
from tests.server import Server

EDITS = st.builds(
    Edit,
    st.integers(0, 1_000),
    st.integers(0, 20),
    st.sampled_from(WORDS) | st.binary(max_size=4),
)


@pytest.mark.parametrize("request_", REQUESTS, ids=range(len(REQUESTS)))
def test_what_is_broken_was_good(stranger: Server, request_: bytes) -> None:
    statuses = [int(status) for status in STATUS.findall(Wire(stranger).exchange(request_))]
    assert statuses
    assert all(status < 500 for status in statuses)
    assert 400 not in statuses


@examples(300)
@given(
    request_=st.sampled_from(REQUESTS),
    edits=st.lists(EDITS, max_size=4),
    cuts=st.lists(st.integers(0, 1_000), max_size=2),
)
def test_whatever_is_broken(
    stranger: Server, request_: bytes, edits: list[Edit], cuts: list[int]
) -> None:
    check(Wire(stranger).exchange(edited(request_, edits), cuts))


@examples(100)
@given(data=st.binary(max_size=300))
def test_what_was_never_a_request(stranger: Server, data: bytes) -> None:
    check(Wire(stranger).exchange(data))


def test_it_answers_as_before(stranger: Server) -> None:
    assert httpx.get(f"{stranger.url}/readyz", trust_env=False).status_code == 200
    assert "Traceback" not in stranger.log()
