import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from meterhouse.folder import DOOR_FILE
from tests.api.samples import connect, make_customer, make_meter, new_account, new_key
from tests.cli.samples import meterhouse
from tests.server import TEST_KEY, Server

VERSION = {"Stripe-Version": "2026-10-28.endive"}


@pytest.fixture
def account(server: Server) -> str:
    return new_account(server)


def events(server: Server, *arguments: str, account: str) -> Result:
    return meterhouse("events", *arguments, "--data-dir", server.data_dir, "--account", account)


def lines(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split("\t") for line in result.stdout.splitlines()]


def stream(server: Server, account: str, *sent: dict[str, Any]) -> None:
    answer = httpx.post(
        f"{server.url}/v2/billing/meter_event_stream",
        json={"events": sent},
        headers=VERSION | {"Stripe-Account": account, "Authorization": f"Bearer {TEST_KEY}"},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text


def test_from_a_typo_to_usage(server: Server, account: str) -> None:
    client = connect(server, account=account)
    make_meter(client)
    customer = make_customer(client)
    payload = {"stripe_customer_id": customer, "value": "2"}
    sent = {"event_name": "cals", "identifier": "a/b", "payload": payload}
    stream(server, account, sent, sent | {"identifier": "c", "event_name": "calls"})

    headers, *rows = lines(events(server, "list", account=account))
    assert headers[1:] == ["outcome", "code", "event name", "customer", "value", "identifier"]
    assert sorted(row[1:] for row in rows) == [
        ["accepted", "", "calls", customer, "2", "c"],
        ["rejected", "no_meter", "cals", customer, "", "a/b"],
    ]
    narrowed = ("list", "--outcome", "rejected", "--limit", "1", "--since", "2026-01-01T00:00:00Z")
    assert len(lines(events(server, *narrowed, account=account))) == 2

    preview = events(
        server, "resend", "a/b", "--set-event-name", "calls", "--dry-run", account=account
    )
    assert lines(preview)[1] == ["1", "1", "0", "0"]
    assert "Nothing was sent" in preview.stderr
    again = events(server, "resend", "--code", "no_meter", account=account)
    assert lines(again) == [["matched", "accepted", "duplicate", "rejected"], ["1", "0", "0", "1"]]
    assert "1 rejected: no_meter" in again.stderr
    fixed = events(
        server,
        *("resend", "a/b", "--set-event-name", "calls", "--set", "note=by hand"),
        account=account,
    )
    assert lines(fixed)[1] == ["1", "1", "0", "0"]

    told = dict(row[:2] for row in lines(events(server, "show", "a/b", account=account)))
    assert told["outcome"] == "accepted"
    assert told["payload note"] == "by hand"
    assert told["rejected"].endswith(", no_meter")
    assert "counts in" in told


def test_a_rejected_event_is_explained(server: Server, account: str) -> None:
    make_meter(connect(server, account=account))
    stream(server, account, {"event_name": "cals", "identifier": "a", "payload": {}})
    told = dict(row[:2] for row in lines(events(server, "show", "a", account=account)))
    assert told["code"] == "no_meter"
    assert told["hint"] == "Did you mean calls instead of cals?"


def test_a_key_opens_its_own_account(server: Server, account: str, tmp_path: Path) -> None:
    stream(server, account, {"event_name": "cals", "identifier": "a", "payload": {}})
    key = new_key(server, "--account", account)
    asked = ("--url", server.url, "--api-key", key, "--data-dir", tmp_path)
    assert len(lines(meterhouse("events", "list", *asked))) == 2
    refused = meterhouse("events", "show", "b", *asked)
    assert refused.exit_code == 1
    assert refused.stderr == "Error: No such meter event: 'b'\n"


def test_live_mode_is_apart(server: Server, account: str) -> None:
    stream(server, account, {"event_name": "cals", "identifier": "a", "payload": {}})
    assert len(lines(events(server, "list", "--live", account=account))) == 1


def test_the_operator_is_let_in_by_the_token_of_the_data_folder(server: Server) -> None:
    door = server.data_dir / DOOR_FILE
    token = json.loads(door.read_text())["token"]
    assert door.stat().st_mode & 0o077 == 0

    def ask(token: str, path: str, **headers: str) -> int:
        given = {"Authorization": f"Bearer {token}"} | headers
        return httpx.get(server.url + path, headers=given, trust_env=False).status_code

    assert ask(token, "/meterhouse/v1/api_keys") == 200
    assert ask(token, "/v1/customers") == 200
    assert ask(token, "/v1/customers", **{"Stripe-Account": "acct_none"}) == 403
    assert ask(token[:-1], "/v1/customers") == 401
    assert ask(TEST_KEY, "/meterhouse/v1/api_keys") == 403


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("resend",), "Say which events to resend: identifiers, filters, or --all."),
        (("resend", "a", "--all"), "Say which events to resend"),
        (("resend", "a", "--set", "x"), "--set is 'x', but must be KEY=VALUE."),
        (("list", "--since", "soon"), "--since is 'soon', but must be an RFC 3339 timestamp"),
    ],
)
def test_wrong_options_end_with_2(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = meterhouse("events", *arguments, "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_without_a_server(tmp_path: Path) -> None:
    result = meterhouse("events", "list", "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: No server runs on {tmp_path}.")
