import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from meterhouse import zones
from meterhouse.cli import serve
from meterhouse.listen import Listening
from meterhouse.settings import OPTIONS
from tests.cli.samples import meterhouse


def listening(url: str, first_key: str | None = None, uds: Path | None = None) -> Listening:
    return Listening(url, uds, Path("/data"), first_key, f"{url}/dashboard")


@contextmanager
def serving(*arguments: str | Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start the real program; give the process and what it said before it was ready."""
    environment = {name: text for name, text in os.environ.items() if "METERHOUSE" not in name}
    process = subprocess.Popen(
        [sys.executable, "-m", "meterhouse", "serve", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if "--api-base" in line:  # the last of the commands to try
                break
        yield process, said
    finally:
        process.kill()
        process.communicate()


def test_every_setting_is_an_option_whose_help_names_the_variable() -> None:
    shown = re.sub(r"[\s│]+", " ", meterhouse("serve", "--help").stdout)
    for setting in OPTIONS:
        assert f"--{setting.name.replace('_', '-')} " in shown
        assert setting.variable in shown


def test_a_wrong_setting_ends_with_2_and_one_sentence() -> None:
    result = meterhouse("serve", "--port", "x")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: METERHOUSE_PORT is 'x', but must be a whole number from 0 to 65535.\n"
    )


def test_a_port_in_use_ends_with_2_before_anything_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        result = meterhouse("serve", "--port", port, "--data-dir", folder)
    assert result.exit_code == 2
    assert f"Cannot listen on 127.0.0.1, port {port}: address already in use." in result.stderr
    assert not folder.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "meterhouse.example"])  # noqa: S104
def test_a_link_that_signs_in_is_for_this_machine_only(tmp_path: Path, host: str) -> None:
    folder = tmp_path / "data"
    result = meterhouse("serve", "--open-dashboard", "--host", host, "--data-dir", folder)
    assert result.exit_code == 2
    assert "works on a loopback address only" in result.stderr
    assert not folder.exists()


def test_the_first_start_tells_its_key_and_commands_that_use_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve.announce(listening("http://127.0.0.1:12111", "sk_test_abc", Path("/run/m.sock")))
    told = capsys.readouterr().out
    assert "http://127.0.0.1:12111 and /run/m.sock\n" in told
    assert f"Time zones    {zones.rules().version} ({zones.rules().source})\n" in told
    assert "Test key      sk_test_abc  (shown only this once)\n" in told
    assert told.count("sk_test_abc") == 4
    assert "\x1b" not in told


def test_a_later_start_tells_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    serve.announce(listening("http://127.0.0.1:12111"))
    told = capsys.readouterr().out
    assert "Test key" not in told
    assert "Try it with a test key of yours:\n" in told
    assert "sk_test_…" in told


def test_a_port_for_every_machine_is_told_with_all_its_addresses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve.announce(listening("http://127.0.0.1:1"))
    assert "Warning" not in capsys.readouterr().out
    others = ("http://192.0.2.7:1", "http://[2001:db8::7]:1")
    serve.announce(listening("http://127.0.0.1:1")._replace(others=others, open=True))
    told = capsys.readouterr().out
    assert (
        "  Listening on  http://127.0.0.1:1\n"
        "                http://192.0.2.7:1\n"
        "                http://[2001:db8::7]:1\n"
        "  Dashboard     http://127.0.0.1:1/dashboard\n"
    ) in told
    assert "Warning: the port is open to every machine that reaches it, without TLS." in told


def test_a_server_on_every_address_is_reached_at_each_that_it_tells(tmp_path: Path) -> None:
    with serving("--port", "0", "--host", "[::]", "--data-dir", tmp_path) as (process, said):
        urls = re.findall(r"(?m)^  .{14}(http://\S+:\d+)$", said)
        assert urls[0].startswith("http://[::1]:")
        assert any(url.startswith("http://127.0.0.1:") for url in urls)
        for url in urls:
            assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
        door = json.loads((tmp_path / "server.json").read_text())
        assert (door["url"], door["pid"]) == (urls[0], process.pid)
        assert "Warning: the port is open" in said


def test_the_stripe_cli_is_left_out_where_it_would_refuse_the_address() -> None:
    assert len(serve.commands(listening("http://[::1]:1"))) == 3
    assert len(serve.commands(listening("http://10.0.0.1:1"))) == 2


def test_the_server_starts_answers_and_stops_on_sigterm(tmp_path: Path) -> None:
    """Given a fresh folder, when the server runs and is stopped, then nothing is left behind."""
    uds = tmp_path / "socket"
    folder = tmp_path / "data"
    with serving("--port", "0", "--data-dir", folder, "--uds", uds) as (process, said):
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        key = re.search(r"sk_test_\w+", said)
        assert found
        assert key
        client = httpx.Client(auth=(key[0], ""), trust_env=False)
        with client:
            assert client.get(f"{found[0]}/v1/account").status_code == 200
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(uds))) as local:
            assert local.get("http://meterhouse/readyz").status_code == 200
        verified = meterhouse("verify", "--data-dir", folder)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    assert (verified.exit_code, process.returncode) == (0, 0), log
    assert re.search(r"INFO request method=GET path=/v1/account status=200 ms=[\d.]+ ", log)
    assert key[0] not in log
    assert not uds.exists()
    assert not (folder / "server.json").exists()


def test_the_commands_to_try_work(tmp_path: Path) -> None:
    with serving("--port", "0", "--data-dir", tmp_path) as (_, said):
        curl, python = (
            shlex.split(line)
            for line in said.splitlines()
            if line.startswith(("  curl", "  python"))
        )
        if os.access("/usr/bin/curl", os.X_OK):
            done = subprocess.run(curl, capture_output=True, text=True, check=True)
            assert '"billing.meter"' in done.stdout
        done = subprocess.run(
            [sys.executable, *python[1:]],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"},
        )
        assert '"name": "Ada"' in done.stdout


def test_a_second_server_on_one_folder_is_refused(tmp_path: Path) -> None:
    with serving("--port", "0", "--data-dir", tmp_path):
        result = meterhouse("serve", "--port", "0", "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: The data folder {tmp_path} is in use")


def test_a_second_signal_ends_the_server_at_once(tmp_path: Path) -> None:
    """Given a request that is still being sent, when two signals come, then nobody waits for it."""
    with serving("--port", "0", "--data-dir", tmp_path) as (process, said):
        found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
        assert found
        with socket.create_connection(("127.0.0.1", int(found[1]))) as client:
            client.sendall(b"POST /v1/customers HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n")
            client.sendall(b"expect: 100-continue\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 100")  # it is in flight now
            process.send_signal(signal.SIGTERM)
            while _accepts(int(found[1])):
                pass
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == -signal.SIGTERM


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:  # refused, or reset when it stopped listening with us in its queue
        return False
    return True
