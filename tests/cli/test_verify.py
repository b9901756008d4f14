import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from meterhouse.config import Config
from meterhouse.folder import SERVER_FILE
from meterhouse.ledger import accounts, tallies
from meterhouse.ledger.engine import open_ledger
from tests.cli.samples import meterhouse

TOKEN = "token of the operator"
GONE = 2**22 + 1  # more than the largest process id that Linux gives


def state(status: str, *problems: str, done: int = 0) -> dict[str, Any]:
    return {
        "status": status,
        "step": "counting accepted events",
        "done": done,
        "total": 2,
        "lines": [{"account": "acct_1", "livemode": False, "acknowledged": 7, "accepted": 7}],
        "problems": list(problems),
    }


class UnixServer(HTTPServer):
    """An HTTP server that takes a path where others take a host."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address[0])

    def get_request(self) -> tuple[Any, Any]:
        return self.socket.accept()[0], ("", 0)


@contextmanager
def server(
    data_dir: Path, *states: dict[str, Any], uds: Path | None = None, status: int = 200
) -> Iterator[list[str]]:
    """Stand in for a running server whose verification goes through `states`."""
    asked: list[str] = []
    left = list(states)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(state("running"))

        def do_GET(self) -> None:
            self._answer(left.pop(0))

        def _answer(self, document: dict[str, Any]) -> None:
            asked.append(f"{self.command} {self.path} {self.headers['authorization']}")
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    made = UnixServer((str(uds), 0), Handler) if uds else HTTPServer(("127.0.0.1", 0), Handler)
    with made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        write_door(data_dir, f"unix://{uds}" if uds else f"http://127.0.0.1:{made.server_port}")
        yield asked
        made.shutdown()
        thread.join()


def write_door(data_dir: Path, url: str, pid: int | None = None) -> None:
    door = {"pid": os.getpid() if pid is None else pid, "url": url, "token": TOKEN}
    (data_dir / SERVER_FILE).write_text(json.dumps(door))


def free_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        return f"http://127.0.0.1:{nobody.getsockname()[1]}"


@pytest.mark.parametrize("unix", [False, True])
def test_a_running_server_is_asked_until_it_has_finished(tmp_path: Path, unix: bool) -> None:
    states = [state("running"), state("running", done=1), state("balanced", done=2)]
    uds = tmp_path / "socket" if unix else None
    with server(tmp_path, *states, uds=uds) as asked:
        result = meterhouse("verify", "--data-dir", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "account\tlivemode\tacknowledged\taccepted",
        "acct_1\tFalse\t7\t7",
        "The books balance.",
    ]
    path = f"/meterhouse/v1/verification Bearer {TOKEN}"
    assert asked == [f"POST {path}", *[f"GET {path}"] * 3]


def test_books_that_do_not_balance_end_with_1_and_say_where(tmp_path: Path) -> None:
    with server(tmp_path, state("unbalanced", "acct_1 in test mode: 7 is not 6.")):
        result = meterhouse("verify", "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert "acct_1\tFalse\t7\t7" in result.stdout
    assert result.stderr == (
        "Error: The books do not balance:\n  - acct_1 in test mode: 7 is not 6.\n"
    )


def test_a_verification_that_fails_ends_with_2(tmp_path: Path) -> None:
    with server(tmp_path, state("failed", "The usage store does not answer.")):
        result = meterhouse("verify", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert "could not be finished:\n  - The usage store does not answer." in result.stderr


def test_a_server_that_refuses_ends_with_2(tmp_path: Path) -> None:
    with server(tmp_path, status=401):
        result = meterhouse("verify", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert "refused to verify itself (status 401)" in result.stderr


def test_a_wrong_setting_ends_with_2(tmp_path: Path) -> None:
    result = meterhouse("verify", "--data-dir", tmp_path, "--database-url", "mysql://x")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: METERHOUSE_DATABASE_URL")


def test_a_folder_without_a_ledger_ends_with_2(tmp_path: Path) -> None:
    result = meterhouse("verify", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: There is no ledger at ")


@pytest.mark.parametrize("door", ["none", "dead process", "nobody listens", "nonsense"])
def test_without_a_server_the_stores_are_opened(tmp_path: Path, door: str) -> None:
    meterhouse("accounts", "create", "--data-dir", tmp_path)
    if door == "dead process":
        write_door(tmp_path, free_url(), GONE)
    elif door == "nobody listens":
        write_door(tmp_path, free_url())
    elif door == "nonsense":
        (tmp_path / SERVER_FILE).write_text("{")
    result = meterhouse("verify", "--data-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("The books balance.\n")


def test_books_that_do_not_balance_are_found_in_the_stores(tmp_path: Path) -> None:
    account = meterhouse("accounts", "create", "--data-dir", tmp_path).stdout.strip()
    url = Config.read({"data_dir": tmp_path}, {}).database_url
    with open_ledger(url) as ledger, ledger.write() as connection:
        scope = accounts.scope_of(connection, account, livemode=False)
        assert scope is not None
        tallies.add(connection, {tallies.Line(scope.id, "accepted"): 3})
    result = meterhouse("verify", "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert account in result.stdout
    assert f"  - {account} test: " in result.stderr


def test_a_usage_store_that_cannot_be_opened_ends_with_2(tmp_path: Path) -> None:
    meterhouse("accounts", "create", "--data-dir", tmp_path)
    (tmp_path / "usage").write_text("not a folder")
    result = meterhouse("verify", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.count("Error: ") == 1
