from typing import Any

import pytest
from typer.testing import CliRunner, Result

from meterhouse.cli.main import app
from tests.api.samples import connect, make_meter, new_account
from tests.cli.samples import ENVIRONMENT, meterhouse
from tests.server import Server


@pytest.fixture
def account(server: Server) -> str:
    return new_account(server)


def erase(server: Server, account: str, *arguments: str, answer: str = "") -> Result:
    runner = CliRunner(env=ENVIRONMENT)
    place = ("--data-dir", str(server.data_dir), "--account", account)
    return runner.invoke(app, ["customers", "erase", *arguments, *place], input=answer)


def test_a_customer_is_forgotten(server: Server, account: str) -> None:
    client = connect(server, account=account)
    make_meter(client)
    customer = client.v1.customers.create({"name": "Ada", "email": "ada@example.com"}).id
    refused = erase(server, account, customer, answer="n\n")
    assert refused.exit_code == 1
    assert f"This will delete the customer {customer}" in refused.stderr
    assert client.v1.customers.retrieve(customer).name == "Ada"

    keys = ("--payload-key", "note", "--payload-key", "größe")
    told = erase(server, account, customer, *keys, answer="y\n")
    assert told.exit_code == 0, told.output
    assert f"and erase note, größe from the payloads of all events of {customer}" in told.stderr
    assert told.stdout.splitlines()[-2:] == [
        "customer\tpayload keys\tevents",
        f"{customer}\tnote,größe\t0",
    ]
    assert "its id, its instants and its usage are left" in told.stderr
    assert "Back-ups keep what they have" in told.stderr
    gone: dict[str, Any] = client.v1.customers.retrieve(customer).to_dict()
    assert gone == {"id": customer, "object": "customer", "deleted": True}
    for event in client.v1.events.list().data:
        assert event.type == "billing.meter.created" or event.data.to_dict()["object"] == gone

    again = erase(server, account, customer, "--yes")
    assert (again.exit_code, again.stdout.splitlines()[1:]) == (0, [f"{customer}\t\t0"])


def test_events_alone(server: Server, account: str) -> None:
    client = connect(server, account=account)
    customer = client.v1.customers.create({"name": "Ada"}).id
    told = erase(server, account, customer, "--payload-key", "note", "--keep-customer", "--yes")
    assert told.exit_code == 0, told.output
    assert "The customer is as it was." in told.stderr
    assert client.v1.customers.retrieve(customer).name == "Ada"


def test_what_is_refused(server: Server, account: str) -> None:
    client = connect(server, account=account)
    customer = client.v1.customers.create().id
    make_meter(client)
    for arguments, reason in (
        (("cus_9",), "No such customer: 'cus_9'"),
        (("a/b?c",), "No such customer: 'a/b?c'"),
        ((customer, "--keep-customer"), "Specify payload_keys, or leave out keep_customer."),
        ((customer, "--payload-key", "value"), "The payload key 'value' cannot be erased"),
    ):
        told = erase(server, account, *arguments, "--yes")
        assert (told.exit_code, told.stdout) == (1, "")
        assert reason in told.stderr
    assert not hasattr(client.v1.customers.retrieve(customer), "deleted")


def test_without_a_server(tmp_path: Any) -> None:
    told = meterhouse("customers", "erase", "cus_1", "--yes", "--data-dir", tmp_path)
    assert told.exit_code == 1
    assert "No server runs on" in told.stderr
