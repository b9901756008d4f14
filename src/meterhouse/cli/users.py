"""`meterhouse users`: the people who may sign in to the dashboard."""

import sys
from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

import sqlalchemy as sa
import typer

from meterhouse.cli import books
from meterhouse.cli.options import DatabaseUrl, DataDir
from meterhouse.cli.output import print_table, remark, show_time
from meterhouse.clock import SystemClock
from meterhouse.config import Config
from meterhouse.errors import ConfigError, MeterhouseError
from meterhouse.ledger import accounts, audit, dashboard_sessions, users
from meterhouse.ledger.audit import Change
from meterhouse.ledger.users import Role, User
from meterhouse.limits import (
    USER_ACCOUNT_ITEMS_MAX,
    USER_NAME_CHARS_MAX,
    USER_PASSWORD_CHARS_MAX,
    USER_PASSWORD_LEAST_CHARS,
)

app = typer.Typer(
    help="Make, list and delete users of the dashboard.", add_completion=False, no_args_is_help=True
)

Mode: TypeAlias = Literal["live", "test"]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The name to sign in with.")]
PasswordStdin = Annotated[
    bool,
    typer.Option(
        "--password-stdin", help="Read the password from the first line of standard input."
    ),
]


@app.command()
def create(
    name: Name,
    *,
    role: Annotated[
        Role, typer.Option(help="A viewer looks; an admin may change things too.")
    ] = "viewer",
    account: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ACCT", help="Show this account only; may be repeated. Without it, all."
        ),
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="Show one mode only. Without it, both.")] = None,
    password_stdin: PasswordStdin = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a user; asks for a password twice."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    _check_name(name)
    bound = list(dict.fromkeys(account or ())) or None
    if bound and len(bound) > USER_ACCOUNT_ITEMS_MAX:
        raise ConfigError(f"A user can be bound to {USER_ACCOUNT_ITEMS_MAX} accounts at most.")
    hashed = users.hash_password(_password(from_stdin=password_stdin))
    by = books.operator()
    with books.opened(config, make=True) as ledger, ledger.write() as connection:
        _check_accounts(connection, bound or ())
        user = users.create_user(
            connection,
            name,
            hashed,
            role,
            by.at,
            accounts=bound,
            livemode=None if mode is None else mode == "live",
        )
        if user is not None:
            audit.note(connection, by, "user.created", None, name, _told(user))
    if user is None:
        raise MeterhouseError(
            f"There is a user '{name}' already; `meterhouse users password` changes the password."
        )
    typer.echo(user.name)
    remark(f"{user.name} may sign in to the dashboard as {user.role}.")


@app.command("list")
def list_users(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """List the users, the oldest first."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    with books.opened(config) as ledger, ledger.read() as connection:
        found = users.list_users(connection)
    print_table(
        ("name", "role", "accounts", "mode", "created", "password set"),
        [
            (
                one.name,
                one.role,
                "all" if one.accounts is None else ", ".join(one.accounts),
                "both" if one.livemode is None else "live" if one.livemode else "test",
                *map(show_time, (one.created, one.password_set_at)),
            )
            for one in found
        ],
    )


@app.command()
def password(
    name: Name,
    *,
    password_stdin: PasswordStdin = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give a user another password, which ends their sessions; asks for it twice."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    hashed = users.hash_password(_password(from_stdin=password_stdin))
    with books.opened(config) as ledger, ledger.write() as connection:
        by = books.operator()
        user = users.set_password(connection, name, hashed, by.at)
        if user is not None:
            audit.note(connection, by, "user.password_changed", None, name)
    if user is None:
        raise _unknown(name)
    typer.echo(user.name)


@app.command()
def delete(name: Name, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Delete a user, which ends their sessions."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    with books.opened(config) as ledger, ledger.write() as connection:
        gone = users.delete_user(connection, name)
        if gone:
            audit.note(connection, books.operator(), "user.deleted", None, name)
    if not gone:
        raise _unknown(name)
    typer.echo(name)


@app.command()
def sessions(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Whose; without it, everybody's.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """List who is signed in to the dashboard, the one that was seen last first."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    with books.opened(config) as ledger, ledger.read() as connection:
        if name is not None and users.find_user(connection, name) is None:
            raise _unknown(name)
        found = dashboard_sessions.list_sessions(connection, SystemClock().now())
    print_table(
        ("user", "browser", "address", "signed in", "last seen", "ends"),
        [
            (
                one.user or "(a link)",
                one.browser,
                one.address,
                *map(show_time, (one.created, one.last_seen, one.expires_at)),
            )
            for one in found
            if name in (None, one.user)
        ],
    )


@app.command()
def sign_out(name: Name, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Sign a user out everywhere."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    by = books.operator()
    with books.opened(config) as ledger, ledger.write() as connection:
        if users.find_user(connection, name) is None:
            raise _unknown(name)
        ended = dashboard_sessions.end_all(connection, name)
        for session in ended:
            audit.note(connection, by, "dashboard_session.ended", None, session)
    typer.echo(name)
    remark(f"{len(ended)} session{'' if len(ended) == 1 else 's'} ended.")


def _told(user: User) -> dict[str, Change]:
    """Return what the audit log tells of a new user."""
    bounds = {"accounts": user.accounts, "livemode": user.livemode}
    bound = {name: Change(new=value) for name, value in bounds.items() if value is not None}
    return {"role": Change(new=user.role), **bound}


def _check_name(name: str) -> None:
    if not name.isprintable() or name != name.strip() or not 0 < len(name) <= USER_NAME_CHARS_MAX:
        raise ConfigError(
            f"'{name}' cannot be a name: it must have 1 to {USER_NAME_CHARS_MAX} characters, all "
            "of them printable, and no space at its ends."
        )


def _check_accounts(connection: sa.Connection, bound: Iterable[str]) -> None:
    for one in bound:
        if accounts.find_account(connection, one) is None:
            raise books.unknown_account(one)


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    else:
        text = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    if not USER_PASSWORD_LEAST_CHARS <= len(text) <= USER_PASSWORD_CHARS_MAX:
        raise ConfigError(
            f"The password must have {USER_PASSWORD_LEAST_CHARS} to {USER_PASSWORD_CHARS_MAX} "
            "characters."
        )
    return text


def _unknown(name: str) -> MeterhouseError:
    return MeterhouseError(f"There is no user '{name}'; `meterhouse users list` shows them.")
