import pytest

from meterhouse import errors


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.StoreError, errors.Refusal])
def test_every_error_is_a_meterhouse_error(kind: type[errors.MeterhouseError]) -> None:
    assert issubclass(kind, errors.MeterhouseError)
    assert str(kind("What was wrong.")) == "What was wrong."


def test_the_tree_is_drawn_whole() -> None:
    names = {kind.__name__ for kind in errors.MeterhouseError.__subclasses__()}
    drawn = errors.__doc__ or ""
    assert all(name in drawn for name in names)


def test_a_refusal_is_a_bad_request_unless_it_says_otherwise() -> None:
    refusal = errors.Refusal("No.")
    assert (refusal.status, refusal.type) == (400, "invalid_request_error")
    assert (refusal.code, refusal.param, dict(refusal.headers)) == (None, None, {})
