import socket
import stat
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from meterhouse import listen
from meterhouse.errors import ConfigError
from meterhouse.listen import Listening


def test_port_0_takes_a_free_port_and_tells_it() -> None:
    with listen.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert listen._urls(listener) == (f"http://127.0.0.1:{port}",)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("localhost", ["127.0.0.1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("0.0.0.0", ["127.0.0.1", "192.0.2.7", "198.51.100.2"]),  # noqa: S104 - as a setting
        ("::1", ["[::1]"]),
        ("::", ["[::1]", "127.0.0.1", "192.0.2.7", "[2001:db8::7]", "198.51.100.2"]),
    ],
)
def test_the_urls_are_all_that_reach_the_server_and_the_first_does_from_this_machine(
    monkeypatch: pytest.MonkeyPatch, host: str, shown: list[str]
) -> None:
    interfaces = {
        "lo": ["127.0.0.1", "::1"],
        "eth0": ["192.0.2.7", "2001:db8::7", "fe80::7%eth0"],
        "wg0": ["198.51.100.2"],
    }
    found = {
        name: [
            SimpleNamespace(family=socket.AF_INET6 if ":" in one else socket.AF_INET, address=one)
            for one in addresses
        ]
        for name, addresses in interfaces.items()
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    with listen.listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert listen._urls(listener) == tuple(f"http://{one}:{port}" for one in shown)


def test_every_address_includes_those_of_version_4() -> None:
    with listen.listen("::", 0) as listener:
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])).close()


def test_a_port_in_use_is_told_in_one_sentence() -> None:
    with listen.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1, port {port}: address already in use"):
            listen.listen("127.0.0.1", port)


def test_an_unknown_host_is_told() -> None:
    host = "x" * 64  # one more than a part of a name may have, so nobody is asked for it
    with pytest.raises(ConfigError, match=f"Cannot listen on {host}"):
        listen.listen(host, 0)


def test_a_unix_socket_is_for_its_owner_and_group_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listen._listen_on_path(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        _connect(path)
    assert not path.exists()


def test_a_unix_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with listen._listen_on_path(path):
        _connect(path)


def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listen._listen_on_path(path):
        with (
            pytest.raises(ConfigError, match="address already in use"),
            listen._listen_on_path(path),
        ):
            pass
        _connect(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with (
        pytest.raises(ConfigError, match="Cannot listen on the Unix socket"),
        listen._listen_on_path(path),
    ):
        pass
    assert path.read_text() == "data"


def test_a_path_that_is_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="too long"),
        listen._listen_on_path(tmp_path / ("x" * 200)),
    ):
        pass


def test_the_door_is_the_unix_socket_where_there_is_one(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    assert Listening(url, None, tmp_path, None, url).nearest == url
    assert Listening(url, Path("/run/m"), tmp_path, None, url).nearest == "unix:///run/m"


def _listen(path: Path) -> None:
    with listen._listen_on_path(path):
        pass


def _connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
