import json

import httpx
import pytest

from tests.api.samples import error_of
from tests.server import TEST_KEY, Server

PATH = "/meterhouse/v1/verification"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("header", [None, f"Bearer {TEST_KEY}", "Bearer é"])
def test_it_is_for_the_operator_alone(server: Server, method: str, header: str | None) -> None:
    headers = {b"authorization": header.encode("latin-1")} if header else {}
    answer = httpx.request(method, server.url + PATH, headers=headers, trust_env=False)
    assert error_of(answer, 401)["type"] == "invalid_request_error"


def test_the_operator_learns_whether_the_books_balance(server: Server) -> None:
    door = json.loads((server.data_dir / "server.json").read_text())
    headers = {"authorization": f"Bearer {door['token']}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as operator:
        state = operator.post(PATH).json()
        while state["status"] == "running":
            state = operator.get(PATH).json()
    assert (state["status"], state["problems"]) == ("balanced", [])
