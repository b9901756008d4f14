import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from meterhouse.cli.output import one_line
from meterhouse.folder import SERVER_FILE
from tests import odd as odd_ones
from tests.api.samples import connect, make_customer, make_meter, new_account, new_key
from tests.cli.samples import meterhouse
from tests.receiver import Reply, receiving
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


@pytest.fixture(scope="module")
def odd(server: Server) -> str:
    """Return an account that has an event of each odd identifier."""
    account = new_account(server)
    for at in range(0, len(odd_ones.IDENTIFIERS), 100):
        some = odd_ones.IDENTIFIERS[at : at + 100]
        payload = {"stripe_customer_id": "..", "value": "1"}
        sent = [{"event_name": "cals", "identifier": one, "payload": payload} for one in some]
        stream(server, account, *sent)
    return account


@pytest.mark.parametrize("identifier", odd_ones.FEW)
def test_whatever_was_taken_is_found_again(server: Server, odd: str, identifier: str) -> None:
    options = ("--data-dir", server.data_dir, "--account", odd)
    told = dict(lines(meterhouse("events", "show", *options, "--", identifier))[1:])
    assert (told["identifier"], told["outcome"]) == (one_line(identifier), "rejected")


def test_odd_identifiers_are_searched_for_listed_and_resent(server: Server, odd: str) -> None:
    options = ("--data-dir", server.data_dir, "--account", odd)
    (_, row) = lines(meterhouse("events", "list", *options, "--identifier", "--help"))
    assert row[-1] == "--help"
    every = lines(meterhouse("events", "list", *options, "--limit", "1000"))
    assert {row[-1] for row in every[1:]} == set(map(one_line, odd_ones.IDENTIFIERS))
    resent = meterhouse("events", "resend", *options, "--dry-run", "--", *odd_ones.IDENTIFIERS)
    assert lines(resent)[1][0] == str(len(odd_ones.IDENTIFIERS))


@pytest.mark.parametrize(
    ("identifier", "code", "sentence"),
    [
        ("no/such/event", 1, "Error: No such meter event: 'no/such/event'\n"),
        ("\x1b[2J", 1, "Error: No such meter event: '\\x1b[2J'\n"),
        ("", 1, "Error: "),
        ("\udcff", 2, "Error: An argument is no text: its bytes are not UTF-8.\n"),
    ],
)
def test_what_is_not_there(
    server: Server, odd: str, identifier: str, code: int, sentence: str
) -> None:
    options = ("--data-dir", server.data_dir, "--account", odd)
    told = meterhouse("events", "show", *options, "--", identifier)
    assert told.exit_code == code
    assert told.stderr.startswith(sentence)
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--url", "{url}", "--api-key", "é"), 2, "No API key and no account has characters"),
        (("--account", "\udcff"), 2, "No API key and no account has characters"),
        (("--url", "http://[::1", "--api-key", "sk"), 2, "--url is 'http://[::1', which is no URL"),
        (("--url", "{url}/none", "--api-key", "sk"), 1, "Unrecognized request URL"),
    ],
)
def test_an_odd_target_is_a_sentence(
    server: Server, options: tuple[str, ...], code: int, sentence: str
) -> None:
    where = [option.format(url=server.url) for option in options]
    told = meterhouse("events", "show", "a", "--data-dir", server.data_dir, *where)
    assert told.exit_code == code
    assert told.stderr.startswith(f"Error: {sentence}")


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"[]"), (200, b"null"), (200, b"<html>"), (404, b"{}"), (404, b'{"error": "no"}')],
)
def test_another_server_is_not_taken_for_this_one(status: int, body: bytes) -> None:
    with receiving() as receiver:
        receiver.reply = lambda _: Reply(status, body)
        told = meterhouse("events", "show", "a", "--url", receiver.url, "--api-key", "sk")
    assert told.exit_code == 1
    assert told.stderr.startswith(("Error: The server gave no answer", "Error: What answers there"))


def test_live_mode_is_apart(server: Server, account: str) -> None:
    stream(server, account, {"event_name": "cals", "identifier": "a", "payload": {}})
    assert len(lines(events(server, "list", "--live", account=account))) == 1


@pytest.mark.parametrize(
    "words",
    [("events", "list"), ("events", "show", "a"), ("events", "resend", "a"), ("demo",)],
)
def test_no_other_url_is_shown_the_operators_token(server: Server, words: tuple[str, ...]) -> None:
    with receiving() as receiver:
        told = meterhouse(*words, "--url", receiver.url, "--data-dir", server.data_dir)
        assert not receiver.heard
    assert told.exit_code == 2
    assert told.stderr.startswith(f"Error: --url needs --api-key: without a key only {server.url}")


def test_no_proxy_is_shown_the_operators_token(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, receiver.url)
        where = ("--url", server.url, "--data-dir", server.data_dir)
        for words in (("events", "list", *where), ("verify", "--data-dir", server.data_dir)):
            assert meterhouse(*words).exit_code == 0
        assert not receiver.heard


def test_the_operator_is_let_in_by_the_token_of_the_data_folder(server: Server) -> None:
    door = server.data_dir / SERVER_FILE
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
