"""`meterhouse audit`: who changed what in this installation."""

from typing import Annotated

import sqlalchemy as sa
import typer

from meterhouse.cli import books
from meterhouse.cli.options import DatabaseUrl, DataDir
from meterhouse.cli.output import print_table, show_time
from meterhouse.config import Config
from meterhouse.errors import ConfigError
from meterhouse.ledger import accounts, audit
from meterhouse.ledger.audit import Entry, Filter
from meterhouse.limits import PAGE_LIMIT_MAX
from meterhouse.wire.page import PageParams
from meterhouse.wire.timestamp import read_timestamp

app = typer.Typer(help="Tell who changed what.", add_completion=False, no_args_is_help=True)

_INSTANT = "2026-11-21T12:00:00Z, or unix seconds"


@app.callback()
def audit_log() -> None:
    """Tell who changed what."""


@app.command("list")
def list_entries(
    *,
    account: Annotated[
        str | None,
        typer.Option(metavar="ACCT", help="Of this account only; else of all, and of none."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Of that account in live mode.")] = False,
    action: Annotated[
        str | None, typer.Option(metavar="ACTION", help="Such as api_key.revoked, or meter.*.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="ACTOR", help="By a user, or by an API key: its id.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"At this time or later: {_INSTANT}.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before this time.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """List the entries of the audit log, newest first."""
    config = Config.read({"data_dir": data_dir, "database_url": database_url})
    created = (_instant("--since", since), _instant("--until", until))
    wanted = Filter(action=action, actor=actor, created=created)
    with books.opened(config) as ledger, ledger.read() as connection:
        scope = None if account is None else _scope(connection, account, live)
        found = _found(connection, scope, wanted, limit)
    print_table(
        ("time", "action", "object", "by", "address", "account", "mode", "changes"),
        [_row(entry) for entry in found],
    )


def _found(connection: sa.Connection, scope: int | None, wanted: Filter, limit: int) -> list[Entry]:
    found: list[Entry] = []
    has_more = True
    while has_more and len(found) < limit:
        after = found[-1].id if found else None
        cut = PageParams(limit=min(limit - len(found), PAGE_LIMIT_MAX), starting_after=after)
        page, has_more = audit.list_entries(connection, scope, cut, wanted) or ([], False)
        found += page
    return found


def _row(entry: Entry) -> tuple[str, ...]:
    mode = "" if entry.livemode is None else "live" if entry.livemode else "test"
    return (
        show_time(entry.created),
        entry.action,
        entry.object_id or "",
        " ".join(dict.fromkeys((entry.actor_type, entry.actor_name))),
        entry.address,
        entry.account or "",
        mode,
        ", ".join(map(_change, entry.changes.items())),
    )


def _change(item: tuple[str, dict[str, object]]) -> str:
    name, change = item
    old, new = change["old"], change["new"]
    if old is None:
        return name if new is None else f"{name}: {new}"
    return f"{name}: {old} to {new}"


def _instant(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return read_timestamp(text)
    except ValueError as error:
        raise ConfigError(f"{option} is '{text}', but {error}.") from error


def _scope(connection: sa.Connection, account: str, live: bool) -> int:
    scope = accounts.scope_of(connection, account, live)
    if scope is None:
        raise books.unknown_account(account)
    return scope.id
