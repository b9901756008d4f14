"""The site of nginx that comes with the program, before servers of which one is gone."""

import socket
from pathlib import Path

import httpx
import pytest

from tests import nginx
from tests.server import TEST_KEY, Server

pytestmark = pytest.mark.skipif(
    not nginx.PROGRAM.exists(), reason="Debian's nginx is not installed"
)


def test_who_does_not_listen_is_passed_by(server: Server, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with nginx.deployed(tmp_path, gone, server.url) as url:
            for name in ("A", "B", "C"):
                made = httpx.post(f"{url}/v1/customers", auth=(TEST_KEY, ""), data={"name": name})
                assert made.status_code == 200, made.text
