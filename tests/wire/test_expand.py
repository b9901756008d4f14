import pytest

from meterhouse.errors import Refusal
from meterhouse.wire.expand import check_expand


def test_allows_what_is_expandable() -> None:
    check_expand([])
    check_expand(["data.meter", "data.customer"], {"data.meter", "data.customer"})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("foo", "This property cannot be expanded (foo)."),
        ("a.b.c.d", "This property cannot be expanded (a.b.c.d)."),
        ("a.b.c.d.e", "You cannot expand more than 4 levels of a property (property: a.b.c.d.e)."),
    ],
)
def test_refuses_the_rest(path: str, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_expand(["meter", path], {"meter"})
    assert caught.value.message == message
