"""`meterhouse migrate`: bring the tables of both stores up to date, and end."""

import typer

from meterhouse.cli.options import ClickhouseUrl, DatabaseUrl, DataDir
from meterhouse.cli.output import remark
from meterhouse.config import Config
from meterhouse.ledger.engine import open_ledger
from meterhouse.usage.store import UsageStore

app = typer.Typer(add_completion=False)


@app.command()
def migrate(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    clickhouse_url: ClickhouseUrl = None,
) -> None:
    """Bring the tables of both stores up to date, and end.

    A server does so itself when it starts. Several may do it at the same time, and a second time it
    changes nothing. A usage store that is a folder must have no server.
    """
    config = Config.read(
        {
            "data_dir": data_dir,
            "database_url": database_url,
            "clickhouse_url": clickhouse_url,
        }
    )
    with open_ledger(config.database_url) as ledger:
        typer.echo(f"{ledger.place} is up to date.")
    usage = UsageStore.open(config.clickhouse_url)
    typer.echo(f"{usage.place} is up to date.")
    usage.close()
    remark("Start the servers: meterhouse serve.")
