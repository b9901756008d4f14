from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from meterhouse.cli.main import app
from tests.cli.samples import ENVIRONMENT, meterhouse

# What each command writes into the audit log by itself; `customers erase` and `events
# resend` ask a server, which does.
WRITES: dict[str, str | None] = {
    "accounts create": "account.created",
    "accounts list": None,
    "accounts rename": "account.renamed",
    "audit list": None,
    "backup": "backup.created",
    "clock accept": "clock.accepted",
    "clock show": None,
    "customers erase": None,
    "demo": None,
    "events list": None,
    "events resend": None,
    "events show": None,
    "keys create": "api_key.created",
    "keys list": None,
    "keys revoke": "api_key.revoked",
    "restore": "backup.restored",
    "secrets rotate": "signing_secret.renewed",
    "serve": None,
    "settings": None,
    "users create": "user.created",
    "users delete": "user.deleted",
    "users list": None,
    "users password": "user.password_changed",
    "users sessions": None,
    "users sign-out": "dashboard_session.ended",
    "verify": None,
    "migrate": None,
    "move": "stores.moved",
    "version": None,
}


def run(data_dir: Path, *arguments: str, typed: str = "correct horse\n") -> list[str]:
    command = [*arguments, "--data-dir", str(data_dir)]
    made = CliRunner(env=ENVIRONMENT).invoke(app, command, input=typed)
    assert made.exit_code == 0, made.output
    return made.stdout.splitlines()


def logged(data_dir: Path, *options: str) -> list[list[str]]:
    headers, *rows = (line.split("\t") for line in run(data_dir, "audit", "list", *options))
    assert headers == ["time", "action", "object", "by", "address", "account", "mode", "changes"]
    return rows


def test_every_command_is_known() -> None:
    assert sorted(commands(typer.main.get_command(app))) == sorted(WRITES)


def commands(group: Any, *path: str) -> list[str]:
    """Return the names of all commands of a group."""
    context = typer.Context(group)
    if not hasattr(group, "list_commands"):
        return [" ".join(path)]
    found = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return [one for name, command in found for one in commands(command, *path, name)]


def test_what_the_operator_does_is_listed(tmp_path: Path) -> None:
    (shop,) = run(tmp_path, "accounts", "create")
    run(tmp_path, "keys", "create", "--account", shop, "--live", "--permissions", "customers:read")
    key = run(tmp_path, "keys", "list")[1].split("\t")[0]
    for _ in range(2):
        run(tmp_path, "keys", "revoke", key)
    run(tmp_path, "users", "create", "ada", "--password-stdin", "--mode", "test")
    run(tmp_path, "users", "password", "ada", "--password-stdin")
    run(tmp_path, "users", "delete", "ada")
    run(tmp_path, "clock", "accept")
    rows = logged(tmp_path)
    assert [row[1:3] + row[5:] for row in rows] == [
        ["clock.accepted", "", "", "", ""],
        ["user.deleted", "ada", "", "", ""],
        ["user.password_changed", "ada", "", "", ""],
        ["user.created", "ada", "", "", "role: viewer, livemode: False"],
        ["api_key.revoked", key, shop, "live", ""],
        [
            "api_key.created",
            key,
            shop,
            "live",
            "type: restricted, permissions: {'customers': 'read'}",
        ],
        ["account.created", shop, "", "", ""],
    ]
    assert {row[3].split()[0] for row in rows} == {"operator"}
    assert logged(tmp_path, "--limit", "2") == rows[:2]
    assert logged(tmp_path, "--action", "user.*") == rows[1:4]
    assert logged(tmp_path, "--account", shop, "--live") == rows[4:6]
    assert logged(tmp_path, "--account", shop) == []
    assert logged(tmp_path, "--actor", "nobody") == []
    assert logged(tmp_path, "--until", "2001-01-01T00:00:00Z") == []
    assert logged(tmp_path, "--since", "2001-01-01T00:00:00Z") == rows


def test_many_entries_are_read_page_by_page(tmp_path: Path) -> None:
    run(tmp_path, "accounts", "create")
    for _ in range(104):
        run(tmp_path, "clock", "accept")
    assert len(logged(tmp_path, "--limit", "103")) == 103


def test_what_cannot_be_listed(tmp_path: Path) -> None:
    run(tmp_path, "accounts", "create")
    for options in (("--since", "soon"), ("--account", "acct_none")):
        refused = meterhouse("audit", "list", *options, "--data-dir", tmp_path)
        assert refused.exit_code in (1, 2)
        assert "Traceback" not in refused.output
