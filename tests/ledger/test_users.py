import argon2
import msgspec
import pytest
import sqlalchemy as sa

from meterhouse.ledger import users
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.users import Role, User

SHIPPED = users._hasher
ADA = User(name="ada", role="admin", accounts=None, livemode=None, created=7, password_set_at=7)


pytestmark = pytest.mark.usefixtures("cheap_hashes")


def make(ledger: Ledger, name: str, password: str, role: Role = "viewer") -> User | None:
    with ledger.write() as connection:
        return users.create_user(connection, name, users.hash_password(password), role, 7)


def verified(ledger: Ledger, name: str, password: str) -> User | None:
    with ledger.read() as connection:
        if not users.matches(users.find_hash(connection, name), password):
            return None
        return users.find_user(connection, name)


def test_a_user_is_known_by_name_and_password(ledger: Ledger) -> None:
    assert make(ledger, "ada", "correct horse", "admin") == ADA
    assert make(ledger, "bob", "battery staple") is not None
    assert verified(ledger, "ada", "correct horse") == ADA
    for name, password in (
        ("ada", "battery staple"),
        ("bob", "correct horse"),
        ("Ada", "correct horse"),
        ("nobody", "correct horse"),
        ("nobody", ""),
    ):
        assert verified(ledger, name, password) is None
    with ledger.read() as connection:
        assert users.find_user(connection, "ada") == ADA
        assert users.find_user(connection, "nobody") is None
        assert [(one.name, one.role) for one in users.list_users(connection)] == [
            ("ada", "admin"),
            ("bob", "viewer"),
        ]


def test_a_user_is_bound_to_accounts_and_a_mode(ledger: Ledger) -> None:
    bounds: list[tuple[list[str] | None, bool | None]] = [
        (["acct_1"], False),
        (["acct_2", "acct_1"], None),
        (None, True),
    ]
    with ledger.write() as connection:
        for number, (bound, livemode) in enumerate(bounds):
            users.create_user(
                connection, str(number), "a hash", "viewer", 7, accounts=bound, livemode=livemode
            )
        found = users.list_users(connection)
    assert [(one.accounts, one.livemode) for one in found] == bounds


def test_a_password_is_nowhere(ledger: Ledger) -> None:
    make(ledger, "ada", "correct horse")
    with ledger.read() as connection:
        stored = str(connection.execute(sa.text("SELECT * FROM users")).all())
    assert "correct" not in stored
    assert "$argon2id$" in stored


def test_a_name_is_taken_once(ledger: Ledger) -> None:
    make(ledger, "ada", "correct horse", "admin")
    assert make(ledger, "ada", "another one") is None
    assert verified(ledger, "ada", "correct horse") == ADA


def test_another_password(ledger: Ledger) -> None:
    make(ledger, "ada", "correct horse", "admin")
    hashed = users.hash_password("battery staple")
    with ledger.write() as connection:
        changed = users.set_password(connection, "ada", hashed, 9)
        assert users.set_password(connection, "nobody", hashed, 9) is None
    assert changed == msgspec.structs.replace(ADA, password_set_at=9)
    assert verified(ledger, "ada", "correct horse") is None
    assert verified(ledger, "ada", "battery staple") == changed


def test_a_deleted_user_is_gone(ledger: Ledger) -> None:
    make(ledger, "ada", "correct horse")
    with ledger.write() as connection:
        assert users.delete_user(connection, "ada")
        assert not users.delete_user(connection, "ada")
    assert verified(ledger, "ada", "correct horse") is None


def test_a_hash_is_as_dear_as_it_should_be() -> None:
    """https://www.rfc-editor.org/rfc/rfc9106#section-4"""
    found = argon2.extract_parameters(SHIPPED.hash("correct horse"))
    assert found == argon2.profiles.RFC_9106_LOW_MEMORY


def test_an_unknown_name_costs_as_much_as_a_known_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(ledger, "ada", "correct horse")
    costs: list[argon2.Parameters] = []
    verify = argon2.PasswordHasher.verify

    def note(hasher: argon2.PasswordHasher, hashed: str, password: str) -> bool:
        costs.append(argon2.extract_parameters(hashed))
        return verify(hasher, hashed, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", note)
    for name in ("ada", "nobody"):
        assert verified(ledger, name, "wrong horse") is None
    known, unknown = costs
    assert known == unknown
