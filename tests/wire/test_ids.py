import re
import uuid

import pytest

from meterhouse.wire import ids


@pytest.mark.parametrize(
    ("prefix", "livemode", "shape"),
    [
        ("cus", False, r"cus_[A-Za-z0-9]{14}"),
        ("req", None, r"req_[A-Za-z0-9]{14}"),
        ("acct", None, r"acct_[A-Za-z0-9]{16}"),
        ("key", None, r"key_[A-Za-z0-9]{24}"),
        ("mtr", False, r"mtr_test_61[A-Za-z0-9]{30}"),
        ("mtr", True, r"mtr_61[A-Za-z0-9]{30}"),
        ("mea", False, r"mea_test_61[A-Za-z0-9]{30}"),
        ("evt", False, r"evt_1[A-Za-z0-9]{23}"),
        ("evt_thin", False, r"evt_test_65[A-Za-z0-9]{30}"),
        ("evt_thin", True, r"evt_65[A-Za-z0-9]{30}"),
        ("mtrusg", True, r"mtrusg_61[A-Za-z0-9]{30}"),
        ("we", True, r"we_1[A-Za-z0-9]{23}"),
        ("ed", False, r"ed_test_61[A-Za-z0-9]{30}"),
        ("del", None, r"del_[A-Za-z0-9]{24}"),
    ],
)
def test_shapes(prefix: str, livemode: bool | None, shape: str) -> None:
    made = {ids.new_id(prefix, livemode) for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(re.fullmatch(shape, one) for one in made)


def test_every_letter_and_digit_is_used() -> None:
    letters = {letter for _ in range(2_000) for letter in ids.new_id("req").removeprefix("req_")}
    assert letters == set(ids.ALPHABET)


def test_a_derived_id_depends_on_each_part_and_the_mode() -> None:
    one = ids.derived_id("mtrusg", False, "mtr_1", "cus_1", 0, 60)
    assert re.fullmatch(r"mtrusg_test_61[A-Za-z0-9]{30}", one)
    assert one == ids.derived_id("mtrusg", False, "mtr_1", "cus_1", 0, 60)
    others = {
        ids.derived_id("mtrusg", True, "mtr_1", "cus_1", 0, 60),
        ids.derived_id("mtrusg", False, "mtr_1cus_1", 0, 60),
        ids.derived_id("mtrusg", False, "mtr_1", "cus_1", 0, 61),
        ids.derived_id("mtrusg", False, "mtr_1", "cus_", 10, 60),
    }
    assert len(others - {one}) == 4


@pytest.mark.parametrize("kind", ["sk", "rk"])
@pytest.mark.parametrize("livemode", [False, True])
def test_secret_keys(kind: str, livemode: bool) -> None:
    key = ids.new_secret_key("sk" if kind == "sk" else "rk", livemode)
    assert re.fullmatch(rf"{kind}_{'live' if livemode else 'test'}_[A-Za-z0-9]{{24}}", key)
    assert key != ids.new_secret_key("sk" if kind == "sk" else "rk", livemode)


def test_signing_secrets() -> None:
    made = {ids.new_signing_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"whsec_[A-Za-z0-9]{32}", one) for one in made)


def test_a_generated_identifier_is_a_random_uuid() -> None:
    assert uuid.UUID(ids.new_identifier()).version == 4
