"""`meterhouse accounts`: the accounts of this installation."""

from typing import Annotated

import typer

from meterhouse.cli import books
from meterhouse.cli.options import DatabaseUrl, DataDir
from meterhouse.cli.output import print_table, show_time
from meterhouse.config import Config
from meterhouse.ledger import accounts, audit

app = typer.Typer(help="Make, name and list accounts.", add_completion=False, no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make an account that is connected to the default one; print its id.

    A request of the default account acts for it with the header Stripe-Account.
    """
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    with books.opened(config, make=True) as ledger, ledger.write() as connection:
        by = books.operator()
        account = accounts.create_account(connection, name, by.at)
        audit.note(connection, by, "account.created", None, account.id)
    typer.echo(account.id)


@app.command()
def rename(
    name: Annotated[str, typer.Argument(help="The name that invoices show; '' for none.")],
    account: Annotated[
        str | None, typer.Option(help="The account's id; the default account unless told.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give an account another name, which its invoices show from then on."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    with books.opened(config, make=True) as ledger, ledger.write() as connection:
        by = books.operator()
        found = (
            accounts.default_account(connection, by.at)
            if account is None
            else accounts.find_account(connection, account)
        )
        if found is None:
            raise books.unknown_account(account or "")
        accounts.rename_account(connection, found.id, name.strip() or None)
        audit.note(connection, by, "account.renamed", None, found.id)


@app.command("list")
def list_accounts(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """List the accounts, the default one first."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    with books.opened(config) as ledger, ledger.read() as connection:
        found = accounts.list_accounts(connection)
    print_table(
        ("id", "kind", "name", "created"),
        [
            (
                one.id,
                "connected" if one.platform else "default",
                one.name or "",
                show_time(one.created),
            )
            for one in found
        ],
    )
