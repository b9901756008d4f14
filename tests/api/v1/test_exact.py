"""The header `Meterhouse-Exact`: usage as text, beside numbers that JSON readers round."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.api.local import DAY, NOW, LocalServer, local_server
from tests.api.samples import make_customer, make_meter, send
from tests.server import TEST_KEY, Server

ROOT = Path(__file__).parents[3]
CLIENTS = ROOT / ".cache" / "clients"

TODAY = NOW // DAY * DAY
VALUES = ("9999999999999.99", "0.0000000000001", "-5", "0.1")
EXACT = "9999999999995.0900000000001"

SUMMARIES = "/v1/billing/meters/{meter}/event_summaries?customer={customer}&start_time={start}"
ANALYTICS = "/v1/billing/analytics/meter_usage?customer={customer}"
RANGE = "&starts_at={start}&ends_at={end}&meters[0][meter]={meter}"
BY_MODEL = "&meters[0][dimension_group_by_keys][]=model"

# address, version, member
ANSWERS = [
    (f"{SUMMARIES}&end_time={{end}}", None, "aggregated_value"),
    (f"{SUMMARIES}&end_time={{end}}&value_grouping_window=day", None, "aggregated_value"),
    (f"{SUMMARIES}&end_time={{end}}&dimension_group_by_keys[]=model", None, "aggregated_value"),
    (f"{ANALYTICS}{RANGE}", None, "value"),
    (f"{ANALYTICS}{RANGE}{BY_MODEL}", "2025-11-17.preview", "value"),
    (f"{ANALYTICS}&starts_at={{start}}&ends_at={{end}}", "2025-09-30.preview", "value"),
    (
        f"{ANALYTICS}&start_time={{start}}&end_time={{end}}&meters[0][meter_id]={{meter}}",
        "2025-08-27.preview",
        "bucket_value",
    ),
    (f"/meterhouse/v1/usage?group_by=customer{RANGE}", None, "value"),
]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(tmp_path_factory.mktemp("local")) as opened:
        yield opened


@pytest.fixture(scope="module")
def places(local: LocalServer) -> dict[str, str]:
    """Return what addresses are about: a customer who has used a meter."""
    meter = local.meter(**{"dimension_payload_keys[]": "model"})
    customer = local.customer()
    for value in VALUES:
        payload = {"stripe_customer_id": customer, "value": value, "model": "m"}
        data = {f"payload[{key}]": text for key, text in payload.items()}
        local.create("/v1/billing/meter_events", data={"event_name": "calls"} | data)
    return {
        "meter": meter,
        "customer": customer,
        "start": str(TODAY),
        "end": str(TODAY + DAY),
    }


@pytest.mark.parametrize(("address", "version", "member"), ANSWERS)
def test_numbers_come_as_text_too(
    local: LocalServer, places: dict[str, str], address: str, version: str | None, member: str
) -> None:
    def ask(exact: str | None) -> str:
        headers = {} if version is None else {"Stripe-Version": version}
        headers |= {} if exact is None else {"Meterhouse-Exact": exact}
        answer = local.request("GET", address.format(**places), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    plain, told = ask(None), ask("true")
    added = "aggregated_value_decimal" if member == "aggregated_value" else "value_decimal"
    assert ask("false") == plain
    assert f'"{member}":{EXACT}' in plain
    assert re.sub(f',"{added}":"[^"]*"', "", told) == plain
    assert told.count(f'"{added}":"{EXACT}"') == 1


# ---- What the documentation shows ----


def shown(language: str) -> list[str]:
    """Return the examples of the section about exact numbers."""
    text = (ROOT / "docs" / "compatibility.md").read_text()
    section = text.split("\n## Exact numbers\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.fixture
def about(client: stripe.StripeClient) -> dict[str, Any]:
    """Return what the examples are about: a customer who has used a meter."""
    meter, customer = make_meter(client), make_customer(client)
    for value in VALUES:
        send(client, customer, value)
    start = int(client.v1.customers.retrieve(customer)["created"]) // DAY * DAY
    return {"meter": meter, "customer": customer, "start": start, "end": start + 2 * DAY}


@pytest.mark.parametrize("example", shown("python"))
def test_the_examples_for_python(
    client: stripe.StripeClient, about: dict[str, Any], example: str
) -> None:
    names = {**about, "client": client}
    exec(example, names)  # noqa: S102 - it is our own documentation
    assert names["exact"] == names.get("same", names["exact"]) == Decimal(EXACT)


NODE = """
const Stripe = require("stripe");
const [url, key, account, about] = process.argv.slice(1);
const {meter, customer, start, end} = JSON.parse(about);
const {hostname, port} = new URL(url);
const config = {
  host: hostname, port, protocol: "http", stripeAccount: account, telemetry: false,
};
const stripe = new Stripe(key, config);
(async () => {
EXAMPLE
  console.log(exact);
})();
"""


@pytest.mark.parametrize("package", ["node-20", "node-23"])
@pytest.mark.parametrize("example", shown("js"))
def test_the_examples_for_node(
    server: Server, account: str, about: dict[str, Any], example: str, package: str
) -> None:
    node = shutil.which("node")
    modules = CLIENTS / package / "node_modules"
    if node is None or not modules.is_dir():
        pytest.skip(f"needs Node and {modules.relative_to(ROOT)}, where `make` puts the package")
    program = NODE.replace("EXAMPLE", example)
    done = subprocess.run(
        [node, "-e", program, server.url, TEST_KEY, account, json.dumps(about)],
        env={"NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{EXACT}\n"), done.stderr
