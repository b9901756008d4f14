from pathlib import Path
from typing import Any

import pytest

from meterhouse import limits
from tests.api.local import LocalServer, local_server
from tests.api.samples import error_of
from tests.api.websocket import Socket
from tests.server import LIVE_KEY

PATH = "/v1/stripecli/sessions"
LISTEN = {"device_name": "laptop", "websocket_features[]": "v2_events"}


def test_a_session_says_what_the_cli_needs(local: LocalServer) -> None:
    account = local.request("GET", "/v1/account").json()["id"]
    session = local.create(PATH, data=LISTEN, headers={"Host": "127.0.0.1:12111"})
    assert session.pop("websocket_id").startswith("cliws_")
    assert session.pop("secret").startswith("whsec_")
    assert session.pop("device_token").startswith("cli_test_")
    assert session == {
        "websocket_url": f"ws://127.0.0.1:12111/subscribe/{account}",
        "websocket_authorized_feature": "v2_events",
        "reconnect_delay": limits.CLI_RECONNECT_SECONDS,
        "default_version": "2026-10-28.endive",
        "latest_version": "2026-10-28.endive",
        "display_connect_filter_warning": False,
    }


@pytest.mark.parametrize(
    ("settings", "headers", "url"),
    [
        ({}, {"X-Forwarded-Proto": "https"}, "wss://usage.example.com/"),
        ({}, {"X-Forwarded-Host": "a.test:8443"}, "ws://a.test:8443/"),
        ({"base_path": "/metering"}, {}, "ws://usage.example.com/metering/"),
        (
            {"trusted_proxies": "10.0.0.0/8"},
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.test"},
            "ws://usage.example.com/",
        ),
    ],
)
def test_the_websocket_is_where_a_trusted_proxy_says(
    tmp_path: Path, settings: dict[str, str], headers: dict[str, str], url: str
) -> None:
    with local_server(tmp_path, **settings) as local:
        session = local.create(PATH, data=LISTEN, headers={"Host": "usage.example.com"} | headers)
        assert session["websocket_url"].startswith(f"{url}subscribe/acct_")


def test_a_device_is_told_one_secret_in_each_mode(local: LocalServer) -> None:
    first, again, other, live = (
        local.create(PATH, data=LISTEN | data, **details)["secret"]
        for data, details in (
            ({}, {}),
            ({"websocket_features[]": "webhooks"}, {}),
            ({"device_name": "desktop"}, {}),
            ({}, {"key": LIVE_KEY}),
        )
    )
    assert first == again
    assert len({first, other, live}) == 3


def test_everything_that_the_cli_sends_is_taken(local: LocalServer) -> None:
    session = local.create(
        PATH,
        data={
            "device_name": "laptop",
            "websocket_features[]": ["webhooks", "v2_events"],
            "forward_to_url": "127.0.0.1:3000/a",
            "forward_connect_to_url": "127.0.0.1:3000/a",
            "forward_thin_to_url": "127.0.0.1:3000/b",
            "forward_thin_connect_to_url": "127.0.0.1:3000/b",
        },
    )
    assert session["websocket_authorized_feature"] == "webhooks"


def test_the_filter_by_accounts_is_not_applied_and_the_cli_says_so(local: LocalServer) -> None:
    tail = {"device_name": "laptop", "websocket_features[]": "request_logs"}
    for filters, warned in (("{}", False), ('{"filter_account":["self"]}', True)):
        session = local.create(PATH, data=tail | {"filters": filters})
        assert session["display_connect_filter_warning"] is warned


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"device_name": "laptop"}, "websocket_features"),
        ({"websocket_features[]": "webhooks"}, "device_name"),
        (LISTEN | {"device_name": "x" * 256}, "device_name"),
        (LISTEN | {"websocket_features[]": "payments"}, "websocket_features"),
        (LISTEN | {"websocket_features[]": ["webhooks"] * 4}, "websocket_features"),
        (LISTEN | {"filters": "GET"}, "filters"),
        (LISTEN | {"colour": "blue"}, "colour"),
    ],
)
def test_what_is_refused(local: LocalServer, data: dict[str, Any], param: str) -> None:
    error = error_of(local.request("POST", PATH, data=data), 400)
    assert error["param"] == param


def test_too_many_listen(local: LocalServer) -> None:
    sessions = [local.create(PATH, data=LISTEN) for _ in range(limits.CLI_LISTENERS_MAX)]

    async def work() -> None:
        sockets = [Socket(local, session) for session in sessions]
        for socket in sockets:
            await socket.open()
        refused = await local.ask("POST", PATH, data=LISTEN)
        assert error_of(refused, 429)["code"] == "rate_limit"
        assert (await local.ask("POST", PATH, data=LISTEN, key=LIVE_KEY)).status_code == 200
        for socket in sockets:
            await socket.close()
        assert (await local.ask("POST", PATH, data=LISTEN)).status_code == 200

    local.run(work())
