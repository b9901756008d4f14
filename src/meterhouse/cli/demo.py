"""`meterhouse demo`: a month of an AI product's usage, sent to a running server, and billed.

It makes what is missing of the demo's customers and meters, sends the events of `demo_traffic`
through the meter event stream, over several connections, and subscribes the customers to the
prices of `demo_billing`.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import httpx
import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from meterhouse import limits
from meterhouse.cli.client import AccountId, ApiKey, Client, Target, Url, connected, find
from meterhouse.cli.demo_billing import grant_credit, make_alerts, make_prices, subscribe
from meterhouse.cli.demo_traffic import COMPANIES, METERS, DemoMeter, Event, Traffic
from meterhouse.cli.options import DataDir
from meterhouse.cli.output import print_table, remark
from meterhouse.clock import SystemClock
from meterhouse.errors import ConfigError, MeterhouseError, StoreError
from meterhouse.wire.credentials import is_live
from meterhouse.wire.version import DEFAULT_VERSION

app = typer.Typer(add_completion=False)

_STREAM = "/v2/billing/meter_event_stream"
_STATUS = "/meterhouse/v1/status"
_KEYS = "/meterhouse/v1/api_keys"
_OUTCOMES = ("accepted", "duplicate", "rejected")
_KEY_NAME = "demo"


@app.command()
def demo(
    *,
    events: Annotated[int, typer.Option(min=1, help="How many events to send.")] = 200_000,
    seed: Annotated[
        int, typer.Option(min=0, help="Another number gives other usage; the same one, the same.")
    ] = 1,
    data_dir: DataDir = None,
    url: Url = None,
    api_key: ApiKey = None,
    account: AccountId = None,
) -> None:
    """Send a month of invented usage of an AI product to a running server, in test mode; bill it.

    A second run with the same seed counts nothing twice.
    """
    if api_key is not None and is_live(api_key):
        raise ConfigError("The demo invents usage: give it a key for test mode.")
    target = Target(data_dir=data_dir, url=url, api_key=api_key, account=account, live=False)
    now = datetime.fromtimestamp(SystemClock().now() // 1000, UTC)
    started = time.perf_counter()
    with _with_key(target) as keyed, connected(keyed) as client:
        customers = _customers(client)
        meters = _meters(client)
        alerts = make_alerts(client, meters, events)
        before = client.get(_STATUS)
        traffic = Traffic(seed, events, now).events(customers)
        asyncio.run(_send(keyed, traffic, events))
        counted = _counted(client, before)
        prices = make_prices(client, meters)
        payers = list(customers.values())
        subscribed = subscribe(client, payers, prices, int(now.timestamp()))
        granted = grant_credit(client, payers)
    seconds = time.perf_counter() - started
    made = {
        "customers": len(COMPANIES),
        "meters": len(METERS),
        "prices": len(prices),
        "subscriptions": subscribed,
        "credit grants": granted,
        "alerts": alerts,
    }
    _report(find(target).base_url, made | {"events": events} | counted, seconds)


@contextmanager
def _with_key(target: Target) -> Iterator[Target]:
    """Give the demo an API key of its own where it was given none; it is revoked afterwards."""
    if target.api_key is not None:
        yield target
        return
    with connected(target) as operator:
        made = operator.post_form(_KEYS, {"name": _KEY_NAME})
        try:
            yield msgspec.structs.replace(target, api_key=made["secret"], account=None)
        finally:
            operator.post_form(f"{_KEYS}/{made['id']}/revoke", {})


def _customers(client: Client) -> dict[str, str]:
    """Return the id of each company's customer, by its domain; make those that are missing."""
    ids: dict[str, str] = {}
    for company in COMPANIES:
        found = client.get("/v1/customers", {"email": company.email, "limit": 1})["data"]
        about = {"name": company.name, "email": company.email, "metadata[tier]": company.tier}
        ids[company.domain] = (found or [client.post_form("/v1/customers", about)])[0]["id"]
    return ids


def _meters(client: Client) -> dict[str, str]:
    """Return the id of each meter by its event name; make those that are missing."""
    ids: dict[str, str] = {}
    for meter in METERS:
        form: dict[str, Any] = {
            "display_name": meter.display_name,
            "event_name": meter.event_name,
            "default_aggregation[formula]": meter.formula,
            "dimension_payload_keys[]": list(meter.dimensions),
        }
        found = _find_meter(client, meter) or client.post_form("/v1/billing/meters", form)
        ids[meter.event_name] = found["id"]
    return ids


def _find_meter(client: Client, meter: DemoMeter) -> dict[str, Any] | None:
    """Look through the active meters, page by page."""
    params: dict[str, Any] = {"status": "active", "limit": limits.PAGE_LIMIT_MAX}
    while True:
        page = client.get("/v1/billing/meters", params)
        for one in page["data"]:
            if one["event_name"] == meter.event_name:
                found: dict[str, Any] = one
                return found
        if not page["has_more"]:
            return None
        params["starting_after"] = page["data"][-1]["id"]


async def _send(target: Target, traffic: Iterator[Event], events: int) -> None:
    """Send events over several connections, with a bar that shows how far it is."""
    address, console = find(target), Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("sending", total=events)
        async with (
            httpx.AsyncClient(
                base_url=address.base_url,
                transport=httpx.AsyncHTTPTransport(uds=address.uds),
                headers=address.headers | {"Stripe-Version": DEFAULT_VERSION.text},
            ) as http,
            asyncio.TaskGroup() as group,
        ):

            async def work() -> None:
                while batch := list(islice(traffic, limits.STREAM_EVENTS_MAX)):
                    await _post(http, batch)
                    progress.advance(bar, len(batch))

            for _ in range(limits.DEMO_CONNECTIONS):
                group.create_task(work())


async def _post(http: httpx.AsyncClient, batch: list[Event]) -> None:
    """Send a batch, again and again while the server is too busy for it."""
    body = msgspec.json.encode({"events": batch})
    headers = {"Content-Type": "application/json"}
    while True:
        try:
            answer = await http.post(_STREAM, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise StoreError(f"The server stopped answering: {error!r}") from error
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            break
        await asyncio.sleep(limits.DEMO_RETRY_MILLISECONDS / 1000)
    if answer.is_error:
        raise MeterhouseError(answer.json()["error"]["message"])


def _counted(client: Client, before: dict[str, Any]) -> dict[str, int]:
    """Wait until everything is judged; return what became of it since `before`."""
    deadline = time.monotonic() + limits.DEMO_SETTLE_SECONDS_MAX
    status = client.get(_STATUS)
    while status["pending"] and time.monotonic() < deadline:
        time.sleep(limits.DEMO_POLL_MILLISECONDS / 1000)
        status = client.get(_STATUS)
    return {name: status[name] - before[name] for name in _OUTCOMES}


def _report(url: str, counted: dict[str, int], seconds: float) -> None:
    print_table(list(counted), [[str(number) for number in counted.values()]])
    remark(f"Sent and billed in {seconds:.1f} s. What to look at next:")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for command in (
        f"{url}/dashboard (usage, and Billing: prices, invoices, revenue)",
        "meterhouse events list --outcome rejected",
    ):
        console.print(Text(f"  {command}", style="cyan"))
