from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from meterhouse.cli.main import app
from meterhouse.clock import SystemClock
from meterhouse.ledger import accounts, audit, dashboard_sessions, users
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.users import User
from meterhouse.limits import USER_ACCOUNT_ITEMS_MAX, USER_NAME_CHARS_MAX, USER_PASSWORD_CHARS_MAX
from meterhouse.wire.page import PageParams
from tests.cli.samples import ENVIRONMENT

TYPED = "correct horse\n"

pytestmark = pytest.mark.usefixtures("cheap_hashes")


def run(data_dir: Path, *arguments: str, typed: str = "") -> Result:
    command = ["users", *arguments, "--data-dir", str(data_dir)]
    return CliRunner(env=ENVIRONMENT).invoke(app, command, input=typed)


def make(data_dir: Path, name: str, *options: str) -> None:
    command = ("create", name, "--password-stdin", *options)
    made = run(data_dir, *command, typed=TYPED)
    assert made.exit_code == 0, made.output
    assert made.stdout == f"{name}\n"


def verified(data_dir: Path, name: str, password: str) -> User | None:
    with open_ledger(f"sqlite:///{data_dir}/ledger.db") as ledger, ledger.read() as connection:
        if not users.matches(users.find_hash(connection, name), password):
            return None
        return users.find_user(connection, name)


def test_a_user_may_only_look_unless_told_otherwise(tmp_path: Path) -> None:
    make(tmp_path, "ada")
    make(tmp_path, "bob", "--role", "admin")
    roles = [verified(tmp_path, name, "correct horse") for name in ("ada", "bob")]
    assert [user and user.role for user in roles] == ["viewer", "admin"]


def test_a_password_is_typed_twice_and_shown_never(tmp_path: Path) -> None:
    made = run(tmp_path, "create", "ada", typed="correct horse\ncorrect horse\n")
    assert made.exit_code == 0, made.output
    assert "correct" not in made.output
    assert verified(tmp_path, "ada", "correct horse") is not None
    wrong = run(tmp_path, "create", "bob", typed="correct horse\nwrong horse\n")
    assert wrong.exit_code == 1
    assert verified(tmp_path, "bob", "correct horse") is None


def test_users_are_listed(tmp_path: Path) -> None:
    make(tmp_path, "ada", "--role", "admin")
    make(tmp_path, "bob")
    headers, *rows = (line.split("\t") for line in run(tmp_path, "list").stdout.splitlines())
    assert headers == ["name", "role", "accounts", "mode", "created", "password set"]
    assert [row[:4] for row in rows] == [
        ["ada", "admin", "all", "both"],
        ["bob", "viewer", "all", "both"],
    ]


def test_a_user_is_bound_to_accounts_and_a_mode(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger, ledger.write() as connection:
        one, two = (accounts.create_account(connection, None, 1).id for _ in range(2))
    make(tmp_path, "ada", "--account", two, "--account", one, "--account", two, "--mode", "test")
    make(tmp_path, "bob", "--mode", "live")
    _, *rows = (line.split("\t") for line in run(tmp_path, "list").stdout.splitlines())
    assert [row[2:4] for row in rows] == [[f"{two}, {one}", "test"], ["all", "live"]]
    told = run(
        tmp_path, "create", "cleo", "--account", "acct_none", "--password-stdin", typed=TYPED
    )
    assert told.exit_code == 1
    assert "There is no account 'acct_none'; `meterhouse accounts list` shows them." in told.stderr
    many = [
        part for number in range(USER_ACCOUNT_ITEMS_MAX + 1) for part in ("--account", str(number))
    ]
    told = run(tmp_path, "create", "cleo", *many, "--password-stdin", typed=TYPED)
    assert told.exit_code == 2
    assert f"bound to {USER_ACCOUNT_ITEMS_MAX} accounts at most" in told.stderr
    assert verified(tmp_path, "cleo", "correct horse") is None


def test_another_password(tmp_path: Path) -> None:
    make(tmp_path, "ada")
    changed = run(tmp_path, "password", "ada", "--password-stdin", typed="battery staple\n")
    assert (changed.exit_code, changed.stdout) == (0, "ada\n")
    assert verified(tmp_path, "ada", "correct horse") is None
    assert verified(tmp_path, "ada", "battery staple") is not None


def test_a_user_is_deleted(tmp_path: Path) -> None:
    make(tmp_path, "ada")
    assert run(tmp_path, "delete", "ada").exit_code == 0
    assert verified(tmp_path, "ada", "correct horse") is None


def signed_in(data_dir: Path, *names: str | None) -> list[bytes]:
    """Sign users in, where None is a link; return the digests of what their browsers hold."""
    digests = [bytes([number]) * 32 for number in range(len(names))]
    now = SystemClock().now()
    with open_ledger(f"sqlite:///{data_dir}/ledger.db") as ledger, ledger.write() as connection:
        for name, digest in zip(names, digests, strict=True):
            dashboard_sessions.create(
                connection,
                digest,
                (name, users.find_hash(connection, name) or "") if name else None,
                address="192.0.2.7",
                browser="Firefox on Linux",
                now=now,
                expires_at=now + 60_000,
            )
    return digests


def test_sessions_are_listed_and_ended(tmp_path: Path) -> None:
    for name in ("ada", "bob"):
        make(tmp_path, name)
    digests = signed_in(tmp_path, "ada", "ada", "bob", None)
    headers, *rows = (line.split("\t") for line in run(tmp_path, "sessions").stdout.splitlines())
    assert headers == ["user", "browser", "address", "signed in", "last seen", "ends"]
    assert [row[:3] for row in rows] == [
        [user, "Firefox on Linux", "192.0.2.7"] for user in ("(a link)", "bob", "ada", "ada")
    ]
    assert len(run(tmp_path, "sessions", "ada").stdout.splitlines()) == 3
    ended = run(tmp_path, "sign-out", "ada")
    assert (ended.exit_code, ended.stdout) == (0, "ada\n")
    assert "2 sessions ended." in ended.stderr
    assert run(tmp_path, "delete", "bob").exit_code == 0
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger, ledger.read() as connection:
        left = [dashboard_sessions.find(connection, digest) for digest in digests]
        wanted = audit.Filter(action="dashboard_session.ended")
        noted = audit.list_entries(connection, None, PageParams(), wanted)
    assert [one and one.user for one in left] == [None] * 4
    assert left[3] is not None
    assert noted is not None
    assert [entry.actor_type for entry in noted[0]] == ["operator"] * 2


@pytest.mark.parametrize(
    ("arguments", "password", "code", "sentence"),
    [
        (("create", "ada"), "correct horse", 1, "There is a user 'ada' already"),
        (("create", "bob"), "7 chars", 2, "The password must have 8 to 1000 characters."),
        (("create", "bob"), "x" * (USER_PASSWORD_CHARS_MAX + 1), 2, "The password must have"),
        (("create", " bob"), "correct horse", 2, "' bob' cannot be a name"),
        (("create", ""), "correct horse", 2, "'' cannot be a name"),
        (("create", "b" * (USER_NAME_CHARS_MAX + 1)), "correct horse", 2, "cannot be a name"),
        (("password", "bob"), "correct horse", 1, "There is no user 'bob'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], password: str, code: int, sentence: str
) -> None:
    make(tmp_path, "ada")
    told = run(tmp_path, *arguments, "--password-stdin", typed=f"{password}\n")
    assert told.exit_code == code
    assert told.stdout == ""
    assert sentence in told.stderr


@pytest.mark.parametrize("command", ["delete", "sessions", "sign-out"])
def test_nobody_is_nobody(tmp_path: Path, command: str) -> None:
    make(tmp_path, "ada")
    told = run(tmp_path, command, "bob")
    assert told.exit_code == 1
    assert told.stderr.startswith("Error: There is no user 'bob'")
