from pathlib import Path

from tests.cli.samples import meterhouse


def test_an_account_is_made_and_its_id_printed(tmp_path: Path) -> None:
    result = meterhouse("accounts", "create", "--name", "Ada & Söhne", "--data-dir", tmp_path)
    (account,) = result.stdout.splitlines()
    assert account.startswith("acct_")
    listed = meterhouse("accounts", "list", "--data-dir", tmp_path).stdout.splitlines()
    headers, default, connected = (line.split("\t") for line in listed)
    assert headers == ["id", "kind", "name", "created"]
    assert default[1:3] == ["default", ""]
    assert connected[:3] == [account, "connected", "Ada & Söhne"]


def test_a_name_is_not_needed(tmp_path: Path) -> None:
    ids = [
        meterhouse("accounts", "create", "--data-dir", tmp_path).stdout.strip() for _ in range(2)
    ]
    listed = meterhouse("accounts", "list", "--data-dir", tmp_path).stdout.splitlines()
    assert [line.split("\t")[0] for line in listed[2:]] == ids


def test_accounts_are_renamed(tmp_path: Path) -> None:
    account = meterhouse("accounts", "create", "--data-dir", tmp_path).stdout.strip()
    names = {"House & Söhne": (), "Shop": ("--account", account), " ": ("--account", account)}
    for name, whose in names.items():
        meterhouse("accounts", "rename", name, *whose, "--data-dir", tmp_path)
    listed = meterhouse("accounts", "list", "--data-dir", tmp_path).stdout.splitlines()
    assert [line.split("\t")[2] for line in listed[1:]] == ["House & Söhne", ""]
    nobody = ("--account", "acct_nope", "--data-dir", tmp_path)
    told = meterhouse("accounts", "rename", "x", *nobody)
    assert told.exit_code != 0
    assert "There is no account 'acct_nope'" in told.stderr
