"""`meterhouse verify`: whether the books balance and the stores agree with them.

A running server is asked to verify itself, because a usage store in a folder belongs to one
process. Where no server runs, the stores are opened here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any, Literal

import httpx
import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from meterhouse.cli import books
from meterhouse.cli.options import ClickhouseUrl, DatabaseUrl, DataDir
from meterhouse.cli.output import CANNOT_RUN, FAILED, complain, print_table
from meterhouse.cli.server_file import RunningServer, find_server, read_state
from meterhouse.clock import SystemClock
from meterhouse.config import Config
from meterhouse.engine.pair import open_usage
from meterhouse.errors import MeterhouseError, StoreError
from meterhouse.jobs.verify import Verification
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.owner import Owner
from meterhouse.limits import VERIFY_POLL_MILLISECONDS
from meterhouse.processing.left_behind import store_left_behind
from meterhouse.processing.stillness import alone
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore

app = typer.Typer(add_completion=False)

_PATH = "/meterhouse/v1/verification"


class State(msgspec.Struct):
    """How far a verification is, and what it found: what `Verification.state` tells."""

    status: Literal["idle", "running", "balanced", "unbalanced", "failed"]
    step: str
    done: int
    total: int
    lines: list[dict[str, Any]]
    problems: list[str]


Ask = Callable[[], Awaitable[State]]


@app.command()
def verify(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    clickhouse_url: ClickhouseUrl = None,
) -> None:
    """Check that the books balance; works beside a running server and without one.

    Ends with 0 when every acknowledged event has exactly one outcome and the usage store holds
    what the ledger says; with 1 when they disagree, and says where; with 2 when it cannot check.
    """
    try:
        config = Config.read(
            {
                "data_dir": data_dir,
                "database_url": database_url,
                "clickhouse_url": clickhouse_url,
            }
        )
        state = asyncio.run(_verify(config))
    except MeterhouseError as error:
        complain(error)
        raise typer.Exit(CANNOT_RUN) from error
    report(state)
    if state.status == "unbalanced":
        raise typer.Exit(FAILED)
    if state.status != "balanced":
        raise typer.Exit(CANNOT_RUN)


async def _verify(config: Config) -> State:
    server = find_server(config)
    if server is not None:
        async with _asking_server(server) as ask:
            if ask is not None:
                return await follow(ask)
    async with _asking_stores(config) as ask:
        return await follow(ask)


async def follow(ask: Ask) -> State:
    """Show how far the verification is until it ends."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("", total=None)
        while True:
            state = await ask()
            progress.update(
                bar, description=state.step, completed=state.done, total=state.total or None
            )
            if state.status not in ("idle", "running"):
                return state
            await asyncio.sleep(VERIFY_POLL_MILLISECONDS / 1000)


@asynccontextmanager
async def _asking_server(server: RunningServer) -> AsyncIterator[Ask | None]:
    """Begin a verification in the server; yield None when nobody listens any more."""
    async with httpx.AsyncClient(
        base_url=server.base_url,
        transport=httpx.AsyncHTTPTransport(uds=server.uds),
        headers=server.headers,
    ) as client:

        async def ask() -> State:
            try:
                return _read(await client.get(_PATH))
            except httpx.HTTPError as error:
                raise StoreError(
                    f"The server at {server.url} stopped answering: {error}."
                ) from error

        try:
            _read(await client.post(_PATH))
        except httpx.ConnectError:
            yield None
        else:
            yield ask


def _read(answer: httpx.Response) -> State:
    return read_state(answer, State, "verify itself")


@asynccontextmanager
async def _asking_stores(config: Config) -> AsyncIterator[Ask]:
    """Open the stores here, and begin a verification."""
    owner = Owner.here(config.data_dir, SystemClock().now())
    with (
        books.opened(config, owner=owner) as ledger,
        closing(open_usage(ledger, config.clickhouse_url)) as usage,
    ):
        async with asking(ledger, usage, config.deduplication_days) as ask:
            yield ask


@asynccontextmanager
async def asking(ledger: Ledger, usage: UsageStore, deduplication_days: int) -> AsyncIterator[Ask]:
    """Begin a verification of stores that are open, which finishes what a crash left behind."""
    stores = Stores(ledger, lambda work, *args, **kwargs: work(usage, *args, **kwargs))

    @asynccontextmanager
    async def hold() -> AsyncIterator[None]:
        await store_left_behind(stores)
        yield

    try:
        verification = Verification(stores, alone(hold), SystemClock(), deduplication_days)
        verification.start()

        async def ask() -> State:
            return msgspec.convert(verification.state(), State)

        yield ask
    finally:
        stores.close()


def report(state: State) -> None:
    """Print what a verification has found."""
    if state.lines:
        headers = list(state.lines[0])
        print_table(headers, [[str(line[name]) for name in headers] for line in state.lines])
    if state.status == "balanced":
        Console().print(Text("The books balance.", style="bold green"))
        return
    if state.status == "unbalanced":
        complain("The books do not balance:")
    else:
        complain("The verification could not be finished:")
    for problem in state.problems:
        Console(stderr=True).print(Text(f"  - {problem}"), soft_wrap=True)
