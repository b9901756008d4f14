"""`meterhouse events`: what became of meter events, and resending what was rejected."""

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from meterhouse.cli.client import AccountId, ApiKey, Client, Live, Target, Url, connected
from meterhouse.cli.options import DataDir
from meterhouse.cli.output import print_table, remark, show_time
from meterhouse.errors import ConfigError
from meterhouse.limits import PAGE_LIMIT_MAX, RESEND_POLL_MILLISECONDS
from meterhouse.wire.timestamp import read_timestamp

app = typer.Typer(
    help="Search, explain and resend meter events.", add_completion=False, no_args_is_help=True
)

_EVENTS = "/meterhouse/v1/meter_events"
_EVENT = "/meterhouse/v1/meter_event"
_RESEND = "/meterhouse/v1/invalid_meter_events/resend"
_RESENDS = "/meterhouse/v1/resends"
_DASH = "One that begins with a dash stands behind --, after all options."
_INSTANT = "2026-11-21T12:00:00Z, or unix seconds"

Meter = Annotated[str | None, typer.Option(metavar="MTR", help="Of this meter.")]
Customer = Annotated[str | None, typer.Option(metavar="CUS", help="Of this customer.")]
EventName = Annotated[str | None, typer.Option(metavar="NAME", help="With this event name.")]
Code = Annotated[str | None, typer.Option(metavar="CODE", help="Rejected with this code.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help=f"Received at this time or later: {_INSTANT}.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Received before this time.")]


@app.command("list")
def list_events(
    *,
    meter: Meter = None,
    customer: Customer = None,
    event_name: EventName = None,
    identifier: Annotated[
        str | None, typer.Option(metavar="ID", help="With this identifier.")
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(metavar="accepted|duplicate|pending|rejected", help="With this outcome."),
    ] = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    data_dir: DataDir = None,
    url: Url = None,
    api_key: ApiKey = None,
    account: AccountId = None,
    live: Live = False,
) -> None:
    """List meter events, newest first, with what became of them."""
    wanted = {
        "meter": meter,
        "customer": customer,
        "event_name": event_name,
        "identifier": identifier,
        "outcome": outcome,
        "code": code,
        "received[gte]": _seconds("--since", since),
        "received[lt]": _seconds("--until", until),
    }
    target = Target(data_dir=data_dir, url=url, api_key=api_key, account=account, live=live)
    with connected(target) as client:
        found = list(_found(client, wanted, limit))
    print_table(
        ("received", "outcome", "code", "event name", "customer", "value", "identifier"),
        [
            (
                show_time(one["received_at"] * 1000),
                "cancelled" if one["cancelled"] else one["outcome"],
                *(one[name] or "" for name in ("code", "event_name", "customer", "value")),
                one["identifier"],
            )
            for one in found
        ],
    )


@app.command()
def show(
    identifier: Annotated[str, typer.Argument(metavar="IDENTIFIER", help=f"Which event. {_DASH}")],
    *,
    data_dir: DataDir = None,
    url: Url = None,
    api_key: ApiKey = None,
    account: AccountId = None,
    live: Live = False,
) -> None:
    """Tell the life of a meter event, and why it does not count."""
    target = Target(data_dir=data_dir, url=url, api_key=api_key, account=account, live=live)
    with connected(target) as client:
        event = client.get(_EVENT, {"identifier": identifier})
    print_table(("what", "is"), list(_told(event)))


@app.command()
def resend(
    identifiers: Annotated[
        list[str] | None,
        typer.Argument(metavar="IDENTIFIER", help=f"Which events to resend. {_DASH}"),
    ] = None,
    *,
    meter: Meter = None,
    customer: Customer = None,
    event_name: EventName = None,
    code: Code = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="Resend every rejected event.")] = False,
    set_event_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Give them another event name.")
    ] = None,
    set_timestamp: Annotated[
        str | None, typer.Option(metavar="TIME", help="Give them another timestamp.")
    ] = None,
    set_payload: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key of their payload."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would become of them.")
    ] = False,
    data_dir: DataDir = None,
    url: Url = None,
    api_key: ApiKey = None,
    account: AccountId = None,
    live: Live = False,
) -> None:
    """Resend rejected events, once the cause is gone; each can count at most once."""
    received = {"gte": _seconds("--since", since), "lt": _seconds("--until", until)}
    filter_ = _given(
        meter=meter,
        customer=customer,
        event_name=event_name,
        code=code,
        received=_given(**received) or None,
    )
    if sum((bool(identifiers), bool(filter_), everything)) != 1:
        raise ConfigError("Say which events to resend: identifiers, filters, or --all.")
    replace = _given(
        event_name=set_event_name,
        timestamp=_seconds("--set-timestamp", set_timestamp),
        payload=dict(map(_pair, set_payload or ())) or None,
    )
    which = {"identifiers": identifiers} if identifiers else {"filter": filter_}
    target = Target(data_dir=data_dir, url=url, api_key=api_key, account=account, live=live)
    with connected(target) as client:
        body = {**which, "replace": replace, "dry_run": dry_run}
        _report(_followed(client, client.post(_RESEND, body)))


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _seconds(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return read_timestamp(text) // 1000
    except ValueError as error:
        raise ConfigError(f"{option} is '{text}', but {error}.") from error


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise ConfigError(f"--set is '{text}', but must be KEY=VALUE.")
    return key, value


def _found(client: Client, wanted: dict[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    """Yield up to `limit` events, page by page."""
    params = _given(**wanted)
    while limit > 0:
        page = client.get(_EVENTS, params | {"limit": min(limit, PAGE_LIMIT_MAX)})
        yield from page["data"]
        limit -= len(page["data"])
        if not page["has_more"]:
            return
        params["starting_after"] = page["data"][-1]["id"]


def _told(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what there is to tell about an event, line by line."""
    yield from _lines(event, "identifier", "outcome", "code", "message")
    if event["hint"]:
        yield "hint", "Did you mean {meant} instead of {sent}?".format(**event["hint"])
    yield from _lines(event, "event_name", "meter", "customer", "value")
    yield "timestamp", show_time(event["timestamp"] * 1000)
    yield "received", show_time(event["received_at"] * 1000)
    yield from ((f"payload {key}", value) for key, value in event["payload"].items())
    yield from _fate(event)


def _lines(event: dict[str, Any], *names: str) -> Iterator[tuple[str, str]]:
    for name in names:
        if event[name] is not None:
            yield name.replace("_", " "), event[name]


def _fate(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what has happened to an event."""
    window = event["summary_window"]
    if window:
        start, end = (show_time(window[name] * 1000) for name in ("start_time", "end_time"))
        yield "counts in", f"{start} to {end}"
        yield from _lines(window, "overwritten_by")
    yield from _lines(event, "error_report")
    for one in event["adjustments"]:
        yield "cancelled", f"{show_time(one['created'] * 1000)}, {one['status']}"
    for one in event["duplicates"]:
        yield "duplicate", show_time(one["received_at"] * 1000)
    for one in event["rejections"]:
        yield "rejected", f"{show_time(one['received_at'] * 1000)}, {one['code']}"


def _followed(client: Client, told: dict[str, Any]) -> dict[str, Any]:
    """Show how far a resend is until it ends."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("resending", total=None)
        while told["status"] != "complete":
            done = sum(told[name] for name in ("accepted", "rejected", "duplicate"))
            progress.update(bar, completed=done, total=told["matched"] or None)
            time.sleep(RESEND_POLL_MILLISECONDS / 1000)
            told = client.get(f"{_RESENDS}/{told['id']}")
    return told


def _report(told: dict[str, Any]) -> None:
    names = ("matched", "accepted", "duplicate", "rejected")
    print_table(names, [[str(told[name]) for name in names]])
    for code, events in sorted(told["codes"].items()):
        remark(f"{events} rejected: {code}")
    if told["dry_run"]:
        remark("Nothing was sent; this is what would become of them.")
