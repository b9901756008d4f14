"""`meterhouse customers`: forgetting one."""

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from meterhouse.cli.client import AccountId, Client, Live, Target, connected
from meterhouse.cli.options import DataDir
from meterhouse.cli.output import following, one_line, print_table, remark
from meterhouse.limits import ERASURE_POLL_MILLISECONDS

app = typer.Typer(help="Forget customers.", add_completion=False, no_args_is_help=True)

_STEPS = {
    "customer": "Erasing the customer and events about it",
    "events": "Erasing values from meter events",
    "slots": "Waiting for slots that are made anew",
    "files": "Waiting for the files of what was erased to go",
}


@app.callback()
def customers() -> None:
    """Forget customers."""


@app.command()
def erase(
    customer: Annotated[str, typer.Argument(metavar="CUS", help="Which customer, deleted or not.")],
    *,
    payload_keys: Annotated[
        list[str] | None,
        typer.Option(
            "--payload-key",
            metavar="KEY",
            help="Erase what stands under this key in the payloads of the customer's events, too. "
            "May be given several times.",
        ),
    ] = None,
    keep_customer: Annotated[
        bool,
        typer.Option(
            "--keep-customer", help="Erase from events alone, and leave the customer as it is."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    account: AccountId = None,
    live: Live = False,
) -> None:
    """Forget a customer, for good: delete it, and erase what is kept of it.

    Its id, its instants and its usage stay. Minutes may pass until no file has what was erased.
    """
    keys = payload_keys or []
    if not yes:
        typer.confirm(_question(customer, keys, keep_customer=keep_customer), abort=True, err=True)
    target = Target(data_dir=data_dir, url=None, api_key=None, account=account, live=live)
    with connected(target) as client:
        body = {"payload_keys": keys, "keep_customer": keep_customer}
        begun = client.post(f"/meterhouse/v1/customers/{quote(customer, safe='')}/erase", body)
        told = _followed(client, begun)
    print_table(
        ("customer", "payload keys", "events"),
        [(told["customer"], ",".join(told["payload_keys"]), str(told["events"]))],
    )
    _tell_what_remains(told, keep_customer=keep_customer)


def _question(customer: str, keys: list[str], *, keep_customer: bool) -> str:
    """Say what is about to be done."""
    what = [] if keep_customer else [f"delete the customer {customer} and all that is known of it"]
    if keys:
        what.append(f"erase {', '.join(keys)} from the payloads of all events of {customer}")
    return one_line(f"This will {', and '.join(what)}. It cannot be undone. Go on?")


def _followed(client: Client, told: dict[str, Any]) -> dict[str, Any]:
    """Show what is being done until it is over."""
    with following() as show:
        while told["status"] != "complete":
            show(_STEPS[told["step"]], 0, 0)
            time.sleep(ERASURE_POLL_MILLISECONDS / 1000)
            told = client.get(f"/meterhouse/v1/erasures/{told['id']}")
    return told


def _tell_what_remains(told: dict[str, Any], *, keep_customer: bool) -> None:
    if keep_customer:
        remark("The customer is as it was.")
    else:
        remark("The customer is deleted; its id, its instants and its usage are left.")
    remark(
        "Back-ups keep what they have, destinations what they were sent, and request logs for 7 "
        "days the errors of requests that name no customer in their path."
    )
    if not told["ledger_rewritten"]:
        remark(
            "The ledger was not written anew, for it is large or no file: unused parts of it may "
            "hold traces until they are used again."
        )
