"""`meterhouse secrets`: what signs."""

import typer

from meterhouse.cli import books
from meterhouse.cli.options import DatabaseUrl, DataDir
from meterhouse.cli.output import remark
from meterhouse.config import Config
from meterhouse.ledger import audit, signing_secret

app = typer.Typer(help="Renew what signs.", add_completion=False, no_args_is_help=True)

_ENDED = """\
{dashboard} of the dashboard ended: everybody signs in again, and no browser is known any more.
All tokens of the meter event stream ended: senders make new ones.
All embed tokens ended: charts need new ones.
{listeners} of the Stripe CLI ended: stripe listen has another signing secret, which
stripe listen --print-secret shows.\
"""
_STAYS = (
    "API keys (meterhouse keys revoke), the signing secrets of destinations (roll_secret), "
    "passwords (meterhouse users password), ids and pages of lists stay as they are."
)


@app.callback()
def secrets() -> None:
    """Renew what signs."""


@app.command()
def rotate(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Renew the secret that signs, for example when somebody has seen a back-up; say what ends.

    A running server notices within a second, and so do all its nodes.
    """
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    by = books.operator()
    with books.opened(config) as ledger, ledger.write() as connection:
        ended = signing_secret.rotate(connection)
        audit.note(connection, by, "signing_secret.renewed", None, None)
    typer.echo(
        _ENDED.format(dashboard=_sessions(ended.dashboard), listeners=_sessions(ended.listeners))
    )
    remark(_STAYS)


def _sessions(count: int) -> str:
    return f"{count} session{'' if count == 1 else 's'}"
