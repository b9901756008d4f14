"""Several servers behind one URL: which of them is asked, and when another one is."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.usage.servers import Host, Login, Servers, read_url
from meterhouse.usage.store import UsageStore
from tests.clickhouse import Double, clickhouse
from tests.nginx import make_certificate

LOGIN = Login(tls=False, user=None, password="", database="", options={}, cluster=None)
SILENT = OperationalError("no answer")
READ_ONLY = DatabaseError("no", code=242, name="TABLE_IS_READ_ONLY")
WRONG = DatabaseError("no", code=62, name="SYNTAX_ERROR")


@pytest.mark.parametrize(
    ("url", "login", "hosts"),
    [
        ("clickhouse://one", {}, [("one", None)]),
        ("clickhouses://one:8443/", {"tls": True}, [("one", 8443)]),
        ("https://one", {"tls": True}, [("one", None)]),
        (
            "clickhouse://u:p@one:1,two,[::1]:3/d?compress=0",
            {"user": "u", "password": "p", "database": "d", "options": {"compress": "0"}},
            [("one", 1), ("two", None), ("::1", 3)],
        ),
        ("clickhouse://u@one?cluster=c", {"user": "u", "cluster": "c"}, [("one", None)]),
        ("clickhouse://u:a%2Fb%40c@one", {"user": "u", "password": "a/b@c"}, [("one", None)]),
        ("clickhouse://u:a/b@c?,@one", {"user": "u", "password": "a/b@c?,"}, [("one", None)]),
        ("clickhouse:///d", {"database": "d"}, [("localhost", None)]),
    ],
)
def test_what_a_url_tells(url: str, login: dict[str, Any], hosts: list[tuple[str, int]]) -> None:
    assert read_url(url) == (LOGIN._replace(**login), [Host(*host) for host in hosts])


@pytest.mark.parametrize("hosts", ["one:x", "one:1:2", "one two", "one:999999"])
def test_what_is_no_url_is_refused_without_its_password(hosts: str) -> None:
    with pytest.raises(StoreError, match="cannot be read") as refused:
        read_url(f"clickhouse://user:secret@{hosts}/d")
    assert "secret" not in str(refused.value)


def test_a_place_names_all_servers_and_no_password() -> None:
    login, hosts = read_url("clickhouse://user:secret@one:1,[::1],two/d?compress=0")
    assert Servers(login, hosts).place == "one:1,[::1],two/d"


class Fleet:
    """Servers that are up or down, and what was done to them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.down: set[int] = set()
        self.without_keeper: set[int] = set()
        self.caught_up: list[int] = []
        self.tried: list[int] = []
        self.now = 0.0
        hosts = [Host(str(number), None) for number in range(count)]
        self.servers = Servers(LOGIN, hosts, self._catch_up)
        monkeypatch.setattr(self.servers, "_greet", self._greet)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def connect(self) -> tuple[int, int]:
        """Return the number of the server that is asked, and the client's epoch."""
        client, epoch = self.servers.connect({})
        number: Any = client
        return number, epoch

    def _greet(self, host: Host, _: dict[str, Any]) -> Client:
        number: Any = int(host.name)
        self.tried.append(number)
        if number in self.down:
            raise SILENT
        client: Client = number
        return client

    def _catch_up(self, client: Client) -> None:
        number: Any = client
        if number in self.without_keeper:
            raise READ_ONLY
        self.caught_up.append(number)


def test_the_first_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(monkeypatch, 3)
    assert [fleet.connect()[0] for _ in range(3)] == [0, 0, 0]
    assert fleet.caught_up == [0]
    assert fleet.tried == [0, 0, 0]


def test_another_server_is_asked_when_the_first_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given clients of the first, then all of them move once one has noticed."""
    fleet = Fleet(monkeypatch, 3)
    _, before = fleet.connect()
    fleet.down = {0, 1}
    fleet.servers.leave(before, WRONG)
    assert not fleet.servers.moved(before)
    fleet.servers.leave(before, SILENT)
    assert fleet.servers.moved(before)
    number, epoch = fleet.connect()
    assert number == 2
    assert not fleet.servers.moved(epoch)
    assert fleet.caught_up == [0, 2]
    assert fleet.connect()[0] == 2


def test_no_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(monkeypatch, 2)
    fleet.down = {0, 1}
    with pytest.raises(OperationalError):
        fleet.connect()
    assert fleet.tried == [0, 1]


def test_the_first_server_is_tried_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given one that is still down, then one client tries it, and the others stay."""
    fleet = Fleet(monkeypatch, 2)
    fleet.down = {0}
    number, epoch = fleet.connect()
    assert number == 1
    for up in (False, True):
        fleet.now += limits.USAGE_HOME_SECONDS - 1
        assert not fleet.servers.moved(epoch)
        fleet.now += 1
        assert fleet.servers.moved(epoch)
        if up:
            fleet.down.clear()
        number, _ = fleet.connect()
        assert number == (0 if up else 1)
        assert fleet.servers.moved(epoch) is up
    assert fleet.caught_up == [1, 0]


def test_a_server_that_cannot_write_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(monkeypatch, 2)
    _, epoch = fleet.connect()
    fleet.servers.leave(epoch, READ_ONLY)
    assert not fleet.servers.moved(epoch)  # it may be over in a moment
    fleet.now += limits.USAGE_HOME_SECONDS
    fleet.servers.leave(epoch, READ_ONLY)
    fleet.servers.leave(epoch, READ_ONLY)  # of another client, which had not moved yet
    assert fleet.connect()[0] == 1


@pytest.mark.parametrize("answered", [True, False])
def test_where_no_server_can_catch_up_the_one_stays_that_had(
    monkeypatch: pytest.MonkeyPatch, *, answered: bool
) -> None:
    """Given a cluster without its Keeper, then nothing is written, and questions are answered.

    Unless the server was away meanwhile: nobody knows then what it has missed.
    """
    fleet = Fleet(monkeypatch, 2)
    _, epoch = fleet.connect()
    fleet.without_keeper = {0, 1}
    fleet.now += limits.USAGE_HOME_SECONDS
    fleet.servers.leave(epoch, READ_ONLY if answered else SILENT)
    if answered:
        assert fleet.connect()[0] == 0
        assert fleet.connect()[0] == 0
        assert fleet.caught_up == [0]
    else:
        with pytest.raises(DatabaseError, match="no"):
            fleet.connect()


def test_one_server_alone_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(monkeypatch, 1)
    _, epoch = fleet.connect()
    fleet.servers.leave(epoch, READ_ONLY)
    assert fleet.connect()[0] == 0


@contextmanager
def silence() -> Iterator[int]:
    """Listen at a port, and never say anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_store_opens_by_way_of_the_server_that_answers(
    clickhouse_server: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a port where nobody listens, and one where nobody answers, then the third is asked."""
    monkeypatch.setattr(limits, "USAGE_GREETING_SECONDS_MAX", 1)
    with silence() as port:
        hosts = f"@127.0.0.1:9,127.0.0.1:{port},"
        with closing(UsageStore.open(clickhouse_server.url.replace("@", hosts))) as store:
            assert store.claim_days(10**9) == []


def test_a_server_is_trusted_by_its_certificate(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with clickhouse(tmp_path / "store", certificate) as double:
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
            UsageStore.open(double.url)
        trusted = f"{double.url}?ca_cert={certificate.certificate}"
        with closing(UsageStore.open(trusted)) as store:
            assert store.claim_days(10**9) == []
