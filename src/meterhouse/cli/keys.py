"""`meterhouse keys`: the API keys of this installation."""

import re
from typing import Annotated

import sqlalchemy as sa
import typer

from meterhouse.cli import books
from meterhouse.cli.options import DatabaseUrl, DataDir
from meterhouse.cli.output import print_table, remark, show_time
from meterhouse.config import Config
from meterhouse.errors import ConfigError, MeterhouseError
from meterhouse.ledger import accounts, audit, keys
from meterhouse.ledger.keys import ApiKey
from meterhouse.limits import CREDENTIAL_CACHE_SECONDS
from meterhouse.metering.model import Scope
from meterhouse.metering.window import MILLISECONDS
from meterhouse.wire.credentials import Permissions, parse_permissions
from meterhouse.wire.timestamp import read_timestamp

_DURATION = re.compile(r"(\d{1,9})([dhm])", re.ASCII)
_UNITS = {"d": MILLISECONDS["day"], "h": MILLISECONDS["hour"], "m": MILLISECONDS["minute"]}

app = typer.Typer(
    help="Make, list and revoke API keys.", add_completion=False, no_args_is_help=True
)


@app.command()
def create(
    *,
    live: Annotated[bool, typer.Option("--live", help="For live mode.")] = False,
    account: Annotated[
        str | None,
        typer.Option(metavar="ACCT", help="Of this account instead of the default one."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    permissions: Annotated[
        str | None,
        typer.Option(
            metavar="RESOURCE:ACCESS,…",
            help="Make a restricted key that may do only this, for example "
            "billing_meters:read,billing_meter_events:write.",
        ),
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option(metavar="90d|12h|30m", help="It stops working after so long."),
    ] = None,
    expires_at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="It stops working then: 2027-11-21T12:00:00Z, or unix seconds."
        ),
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make an API key; print its secret, which is shown only this once."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    permitted = _permissions(permissions)
    by = books.operator()
    until = _expiry(expires_in, expires_at, by.at)
    with books.opened(config, make=True) as ledger, ledger.write() as connection:
        scope = _scope(connection, account, live, by.at)
        key, secret = keys.create_key(
            connection, scope, by.at, name=name, permissions=permitted, expires_at=until
        )
        audit.note(connection, by, "api_key.created", scope.id, key.id, keys.told(key))
    typer.echo(secret)
    lasting = "" if until is None else f" until {show_time(until)}"
    remark(
        f"{key.id}: a {_described(key)} of {scope.account}{lasting}. It is shown only this once."
    )


@app.command("list")
def list_keys(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """List the API keys, newest first, without their secrets."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    with books.opened(config) as ledger, ledger.read() as connection:
        found = keys.list_keys(connection)
    print_table(
        (
            "id",
            "secret",
            "account",
            "name",
            "permissions",
            "created",
            "revoked",
            "expires",
            "last used",
        ),
        [
            (
                key.id,
                key.hint,
                key.scope.account,
                key.name or "",
                ",".join(f"{resource}:{access}" for resource, access in key.permissions.items()),
                show_time(key.created),
                *(
                    show_time(instant) if instant is not None else ""
                    for instant in (key.revoked_at, key.expires_at, key.last_used_at)
                ),
            )
            for key in found
        ],
    )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The id of the key: key_….")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke an API key."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    with books.opened(config) as ledger, ledger.write() as connection:
        key = keys.revoke_key(connection, key_id, books.operator())
    if key is None:
        raise MeterhouseError(f"There is no key '{key_id}'; `meterhouse keys list` shows them.")
    typer.echo(key.id)
    remark(
        f"{key.hint} is revoked; a running server turns it away within "
        f"{CREDENTIAL_CACHE_SECONDS} second."
    )


def _permissions(text: str | None) -> Permissions | None:
    if text is None:
        return None
    try:
        return parse_permissions(text)
    except ValueError as error:
        raise ConfigError(f"--permissions: {error}") from error


def _expiry(expires_in: str | None, expires_at: str | None, now: int) -> int | None:
    """Return the instant at which a key shall expire, None for never."""
    if expires_in is not None and expires_at is not None:
        raise ConfigError("say --expires-in or --expires-at, not both.")
    if expires_in is not None:
        return _checked("--expires-in", expires_in, _after(expires_in, now), now)
    if expires_at is not None:
        return _checked("--expires-at", expires_at, _instant(expires_at), now)
    return None


def _after(text: str, now: int) -> int:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ConfigError(f"--expires-in is '{text}', but must be like 90d, 12h or 30m.")
    return now + int(found[1]) * _UNITS[found[2]]


def _instant(text: str) -> int:
    try:
        return read_timestamp(text)
    except ValueError as error:
        raise ConfigError(f"--expires-at is '{text}', but {error}.") from error


def _checked(option: str, text: str, instant: int, now: int) -> int:
    try:
        keys.check_expiry(instant, now)
    except ConfigError as error:
        raise ConfigError(f"{option} is '{text}', but {error}") from error
    return instant


def _scope(connection: sa.Connection, account: str | None, live: bool, now: int) -> Scope:
    account_id = account or accounts.default_account(connection, now).id
    scope = accounts.scope_of(connection, account_id, live)
    if scope is None:
        raise books.unknown_account(account_id)
    return scope


def _described(key: ApiKey) -> str:
    return f"{key.kind} key for {'live' if key.scope.livemode else 'test'} mode"
