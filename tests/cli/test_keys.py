import re
from pathlib import Path

import httpx
import pytest

from meterhouse.ledger import accounts, keys
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.keys import ApiKey
from meterhouse.wire.credentials import digest
from tests.cli.samples import meterhouse
from tests.server import LIVE_KEY, TEST_KEY, serving


def find(data_dir: Path, secret: str) -> ApiKey | None:
    with open_ledger(f"sqlite:///{data_dir}/ledger.db") as ledger, ledger.read() as connection:
        return keys.find_key(connection, digest(secret))


def create(data_dir: Path, *arguments: str) -> str:
    result = meterhouse("keys", "create", "--data-dir", data_dir, *arguments)
    assert result.exit_code == 0, result.output
    (secret,) = result.stdout.splitlines()
    return secret


def test_a_key_is_for_test_mode_and_the_default_account(tmp_path: Path) -> None:
    secret = create(tmp_path, "--name", "laptop")
    assert re.fullmatch(r"sk_test_\w{24}", secret)
    key = find(tmp_path, secret)
    assert key is not None
    assert (key.kind, key.name, key.scope.livemode) == ("secret", "laptop", False)


def test_a_live_key(tmp_path: Path) -> None:
    secret = create(tmp_path, "--live")
    key = find(tmp_path, secret)
    assert secret.startswith("sk_live_")
    assert key is not None
    assert key.scope.livemode


def test_a_key_with_permissions_is_a_restricted_one(tmp_path: Path) -> None:
    secret = create(
        tmp_path, "--permissions", "billing_meters:read,billing_meter_events:write", "--live"
    )
    key = find(tmp_path, secret)
    assert secret.startswith("rk_live_")
    assert key is not None
    assert key.permissions == {"billing_meters": "read", "billing_meter_events": "write"}


def test_a_key_of_a_connected_account(tmp_path: Path) -> None:
    account = meterhouse("accounts", "create", "--data-dir", tmp_path).stdout.strip()
    key = find(tmp_path, create(tmp_path, "--account", account))
    assert key is not None
    assert key.scope.account == account


def test_the_secret_alone_is_on_standard_output(tmp_path: Path) -> None:
    result = meterhouse("keys", "create", "--data-dir", tmp_path)
    assert result.stdout.count("\n") == 1
    assert "a secret key for test mode of acct_" in result.stderr
    assert "shown only this once" in result.stderr
    assert result.stdout.strip() not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--account", "acct_x"), 1, "There is no account 'acct_x'"),
        (("--permissions", "meters:read"), 2, "'meters' is not one of"),
        (("--permissions", "customers:own"), 2, "must end in ':read' or ':write'"),
        (("--permissions", ""), 2, "no permission given"),
        (("--name", "environment"), 2, "choose another name"),
        (("--expires-in", "0d"), 2, "--expires-in is '0d', but a key must expire in the future"),
        (("--expires-in", "3651d"), 2, "within 3650 days"),
        (("--expires-in", "a week"), 2, "must be like 90d, 12h or 30m"),
        (("--expires-at", "2020-01-01T00:00:00Z"), 2, "a key must expire in the future"),
        (("--expires-at", "soon"), 2, "--expires-at is 'soon', but must be"),
        (("--expires-in", "1d", "--expires-at", "1"), 2, "not both"),
        (("--database-url", "mysql://x"), 2, "METERHOUSE_DATABASE_URL must be"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    result = meterhouse("keys", "create", "--data-dir", tmp_path, *arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert sentence in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_keys_are_listed_without_their_secrets(tmp_path: Path) -> None:
    first = create(tmp_path, "--name", "one")
    second = create(tmp_path, "--permissions", "customers:write")
    result = meterhouse("keys", "list", "--data-dir", tmp_path)
    headers, newest, oldest = (line.split("\t") for line in result.stdout.splitlines())
    assert headers[:6] == ["id", "secret", "account", "name", "permissions", "created"]
    assert headers[6:] == ["revoked", "expires", "last used"]
    assert newest[1] == f"rk_test_****{second[-4:]}"
    assert newest[4] == "customers:write"
    assert (oldest[3], oldest[6:]) == ("one", ["", "", ""])
    assert first not in result.output
    assert second not in result.output


def test_a_key_expires_when_it_is_told_to(tmp_path: Path) -> None:
    long_, short, exact = (
        find(tmp_path, create(tmp_path, *options))
        for options in (
            ("--expires-in", "90d"),
            ("--expires-in", "12h"),
            ("--expires-at", "2031-02-03T04:05:06Z"),
        )
    )
    assert long_ is not None
    assert short is not None
    assert exact is not None
    assert [key.expires_at - key.created for key in (long_, short) if key.expires_at] == [
        90 * 86_400_000,
        12 * 3_600_000,
    ]
    assert exact.expires_at == 1_927_857_906_000
    listed = meterhouse("keys", "list", "--data-dir", tmp_path).stdout.splitlines()[1]
    assert listed.split("\t")[7] == "2031-02-03 04:05:06Z"


def test_a_revoked_key_opens_nothing_and_stays_listed(tmp_path: Path) -> None:
    secret = create(tmp_path)
    key = find(tmp_path, secret)
    assert key is not None
    for _ in range(2):
        result = meterhouse("keys", "revoke", key.id, "--data-dir", tmp_path)
        assert (result.exit_code, result.stdout) == (0, f"{key.id}\n")
    assert find(tmp_path, secret) is None
    listed = meterhouse("keys", "list", "--data-dir", tmp_path).stdout.splitlines()[1].split("\t")
    assert listed[0] == key.id
    assert listed[6].startswith("20")


def test_an_unknown_key_cannot_be_revoked(tmp_path: Path) -> None:
    create(tmp_path)
    result = meterhouse("keys", "revoke", "key_x", "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: There is no key 'key_x'")


def test_a_folder_without_a_ledger_is_told_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "nobody"
    for arguments in (("keys", "list"), ("keys", "revoke", "key_x"), ("accounts", "list")):
        result = meterhouse(*arguments, "--data-dir", folder)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: There is no ledger at {folder}/ledger.db.")
    assert not folder.exists()


def test_a_ledger_elsewhere_is_found_by_its_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    secret = meterhouse("keys", "create", "--database-url", url).stdout.strip()
    with open_ledger(url) as ledger, ledger.read() as connection:
        assert keys.find_key(connection, digest(secret)) is not None
        assert len(accounts.list_accounts(connection)) == 1


def test_a_server_reads_its_keys_from_a_file_and_keeps_when_they_were_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")  # then it is no fork, and has its own command line
    file = tmp_path / "keys"
    file.write_text(f"{TEST_KEY}\n{LIVE_KEY}\n")
    with serving(tmp_path / "data", api_keys="", api_keys_file=str(file)) as server:
        answer = httpx.get(f"{server.url}/v1/account", auth=(TEST_KEY, ""), trust_env=False)
        assert answer.status_code == 200
        shown = Path(f"/proc/{server.process.pid}/cmdline").read_text()
        assert "--data-dir" in shown
        assert "sk_" not in shown
    found = {key: find(tmp_path / "data", key) for key in (TEST_KEY, LIVE_KEY)}
    used = {secret: key.last_used_at is not None for secret, key in found.items() if key}
    assert used == {TEST_KEY: True, LIVE_KEY: False}
