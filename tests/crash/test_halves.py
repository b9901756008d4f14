"""Copies and halves of a data folder, with the real program.

A store that is gone beside one that is not, and links of the engine that became folders.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import TEST_KEY, Server, serving

SENTENCES = {
    "ledger.db": "The ledger at * is new, but the usage store at * holds 2 accepted events",
    "usage": "The usage store at * is empty or missing, but the ledger at * counts 2 accepted",
}


def ask(server: Server, method: str, path: str, **form: str) -> dict[str, Any]:
    answer = httpx.request(method, server.url + path, auth=(TEST_KEY, ""), data=form or None)
    assert answer.is_success, answer.text
    document: dict[str, Any] = answer.json()
    return document


def send(server: Server, customer: str, identifier: str) -> None:
    form = {"event_name": "calls", "identifier": identifier, "payload[value]": "2"}
    ask(
        server,
        "POST",
        "/v1/billing/meter_events",
        **form,
        **{"payload[stripe_customer_id]": customer},
    )


def serve(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a server that is to end by itself."""
    command = [sys.executable, "-m", "meterhouse", "serve", "--port", "0"]
    return subprocess.run(
        [*command, "--data-dir", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def said(sentence: str, text: str) -> bool:
    return re.search(".*".join(map(re.escape, sentence.split("*"))), text) is not None


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a server that has counted two events and was stopped."""
    folder = tmp_path_factory.mktemp("whole")
    meter = {"display_name": "Calls", "event_name": "calls", "default_aggregation[formula]": "sum"}
    with serving(folder) as server:
        ask(server, "POST", "/v1/billing/meters", **meter)
        customer = ask(server, "POST", "/v1/customers", name="A")["id"]
        for identifier in ("one", "two"):
            send(server, customer, identifier)
    return folder


@pytest.mark.parametrize("gone", SENTENCES)
def test_a_server_refuses_half_a_restore_and_changes_nothing(
    used: Path, tmp_path: Path, gone: str
) -> None:
    """Given a store that is gone, then the server says so and the other is as it was."""
    folder = shutil.copytree(used, tmp_path / "data", symlinks=True)
    lost = folder / gone
    if lost.is_dir():
        shutil.rmtree(lost)
    else:
        lost.unlink()
    ended = serve(folder)
    assert ended.returncode == 1
    assert said(SENTENCES[gone], ended.stderr), ended.stderr
    assert "--mismatched-stores accept" in ended.stderr

    # When what was lost is put back over what the server may have made, then all is well.
    if (used / gone).is_dir():
        shutil.copytree(used / gone, lost, symlinks=True)
    else:
        shutil.copy(used / gone, lost)
    with serving(folder) as server:
        assert ask(server, "GET", "/v1/billing/meters")["data"][0]["event_name"] == "calls"


def test_a_server_goes_on_regardless_and_stays_a_pair(used: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(used, tmp_path / "data", symlinks=True)
    shutil.rmtree(folder / "usage")
    with serving(folder, mismatched_stores="accept") as server:
        assert "Going on without what is missing" in server.log()
        [customer] = ask(server, "GET", "/v1/customers")["data"]
        send(server, customer["id"], "one")  # nothing tells any more that it is taken
    with serving(folder):
        pass


@pytest.mark.parametrize("links", ["followed", "left out"])
def test_a_copy_without_the_links_of_the_engine_is_mended(
    used: Path, tmp_path: Path, links: str
) -> None:
    """Given a copy by a tool that follows links or leaves them out, then it opens as it was."""
    folder = shutil.copytree(used, tmp_path / "data")
    if links == "left out":
        shutil.rmtree(folder / "usage" / "metadata")
        shutil.rmtree(folder / "usage" / "data")
    with serving(folder) as server:
        ask(server, "GET", "/v1/billing/meters")
    assert (folder / "usage" / "metadata" / "default").is_symlink()
    verified = subprocess.run(
        [sys.executable, "-m", "meterhouse", "verify", "--data-dir", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.stdout.endswith("The books balance.\n"), verified


def test_a_torn_copy_hears_what_is_wrong_with_it(used: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(used, tmp_path / "data")
    (folder / "usage" / "metadata" / "default" / "events.sql").write_text("else")
    ended = serve(folder)
    assert ended.returncode == 1
    assert "metadata/default holds something else than store/" in ended.stderr
    assert "another process" not in ended.stderr
