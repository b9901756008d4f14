"""`meterhouse clock`: how far time has come, and that the machine's clock is right."""

import typer

from meterhouse.cli import books
from meterhouse.cli.options import DatabaseUrl, DataDir
from meterhouse.cli.output import print_table, remark, show_time
from meterhouse.clock import SystemClock
from meterhouse.config import Config
from meterhouse.ledger import audit, timekeeping
from meterhouse.limits import CLOCK_LOOK_SECONDS

app = typer.Typer(
    help="Show how far time has come, and say that the clock is right.",
    add_completion=False,
    no_args_is_help=True,
)


@app.command()
def show(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Show what the machine's clock says, and which instant is known to have been reached."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    with books.opened(config) as ledger, ledger.read() as connection:
        known = timekeeping.read(connection)
    reached = "" if known is None else show_time(known.reached)
    print_table(("clock", "reached"), [(show_time(SystemClock().now()), reached)])


@app.command()
def accept(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Say that the machine's clock is right, wherever time had been thought to be.

    A clock that is ahead is believed at once: what is older than it is kept is dropped by it. With
    one that is behind, because it was ahead before, events are taken again.
    """
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    by = books.operator()
    with books.opened(config) as ledger, ledger.write() as connection:
        timekeeping.settle(connection, by.at, SystemClock().uptime())
        audit.note(connection, by, "clock.accepted", None, None)
    typer.echo(show_time(by.at))
    remark(f"The clock is right. A running server knows within {CLOCK_LOOK_SECONDS} seconds.")
