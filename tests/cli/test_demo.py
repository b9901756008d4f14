from typing import Any

import httpx
import pytest

from meterhouse.cli.demo_traffic import COMPANIES, METERS
from tests.api.samples import new_account
from tests.cli.samples import meterhouse
from tests.server import LIVE_KEY, TEST_KEY, Server

EVENTS = 3_000


def demo(server: Server, account: str, *options: str) -> dict[str, int]:
    """Run the demo; return what it says that it did."""
    folder = ("--data-dir", server.data_dir, "--account", account)
    done = meterhouse("demo", "--events", str(EVENTS), *folder, *options)
    assert done.exit_code == 0, done.output
    names, numbers = (line.split("\t") for line in done.stdout.splitlines())
    assert "/dashboard" in done.stderr
    return dict(zip(names, map(int, numbers), strict=True))


def get(server: Server, account: str, path: str) -> Any:
    answer = httpx.get(
        server.url + path,
        auth=(TEST_KEY, ""),
        headers={"Stripe-Account": account},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def upcoming(server: Server, account: str, customer: str) -> int:
    """Return what a customer's next invoice comes to, in cents."""
    answer = httpx.post(
        f"{server.url}/v1/invoices/create_preview",
        auth=(TEST_KEY, ""),
        headers={"Stripe-Account": account},
        data={"customer": customer},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    total: int = answer.json()["total"]
    return total


def test_the_server_counts_exactly_what_is_sent(server: Server) -> None:
    account = new_account(server)
    told = demo(server, account)
    status = get(server, account, "/meterhouse/v1/status")
    assert (told["customers"], told["meters"], told["events"]) == (36, 4, EVENTS)
    assert status["acknowledged"] == EVENTS
    for outcome in ("accepted", "duplicate", "rejected"):
        assert told[outcome] == status[outcome] > 0
    customers = get(server, account, "/v1/customers?limit=100")["data"]
    assert {one["name"] for one in customers} == {company.name for company in COMPANIES}
    meters = get(server, account, "/v1/billing/meters?limit=100")["data"]
    assert {one["event_name"] for one in meters} == {meter.event_name for meter in METERS}
    codes = {one["code"] for one in get(server, account, "/meterhouse/v1/rejections")["data"]}
    assert "no_meter" in codes

    assert (told["prices"], told["subscriptions"]) == (4, 36)
    [largest] = [one["id"] for one in customers if one["name"] == COMPANIES[0].name]
    invoices = get(server, account, "/v1/invoices?limit=100")["data"]
    assert {one["status"] for one in invoices} == {"open", "paid"}
    assert sum(one["total"] for one in invoices) > 0
    assert upcoming(server, account, largest) == 0  # credit pays for it
    grants = get(server, account, "/v1/billing/credit_grants")["data"]
    assert len(grants) == told["credit grants"] == 3
    alerts = get(server, account, "/meterhouse/v1/alerts")["data"]
    assert len(alerts) == told["alerts"] == 2

    again = demo(server, account, "--api-key", TEST_KEY)
    assert again["accepted"] < EVENTS / 20
    assert len(get(server, account, "/v1/prices?limit=100")["data"]) == again["prices"]
    assert len(get(server, account, "/v1/subscriptions?limit=100")["data"]) == len(COMPANIES)
    assert len(get(server, account, "/v1/invoices?limit=100")["data"]) == len(invoices)
    assert len(get(server, account, "/v1/billing/credit_grants")["data"]) == len(grants)
    assert len(get(server, account, "/meterhouse/v1/alerts")["data"]) == len(alerts)
    assert len(get(server, account, "/v1/customers?limit=100")["data"]) == len(COMPANIES)
    assert len(get(server, account, "/v1/billing/meters?limit=100")["data"]) == len(METERS)


def test_without_a_key_it_makes_one_and_revokes_it(server: Server) -> None:
    account = new_account(server)
    demo(server, account)
    listed = meterhouse("keys", "list", "--data-dir", server.data_dir).stdout.splitlines()
    [key] = [line.split("\t") for line in listed if account in line]
    assert key[3] == "demo"
    assert key[6] != ""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--api-key", LIVE_KEY), "give it a key for test mode"),
        (("--api-key", "sk_test_unknown_to_everybody"), "Invalid API Key"),
        (("--account", "acct_unknown"), "acct_unknown"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(
    server: Server, options: tuple[str, ...], sentence: str
) -> None:
    done = meterhouse("demo", "--data-dir", server.data_dir, *options)
    assert done.exit_code in (1, 2)
    assert sentence in done.stderr
    assert done.stdout == ""
