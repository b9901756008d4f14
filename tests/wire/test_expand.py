import pytest

from meterhouse.errors import Refusal
from meterhouse.wire.expand import check_expand, expanded


def test_allows_what_is_expandable() -> None:
    check_expand([])
    check_expand(["data.meter", "data.customer"], {"data.meter", "data.customer"})
    check_expand(["data.meter.prices"], {"data.meter"})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("meters", "This property cannot be expanded (meters)."),
        ("foo", "This property cannot be expanded (foo)."),
        ("a.b.c.d", "This property cannot be expanded (a.b.c.d)."),
        ("a.b.c.d.e", "You cannot expand more than 4 levels of a property (property: a.b.c.d.e)."),
    ],
)
def test_refuses_the_rest(path: str, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_expand(["meter", path], {"meter"})
    assert caught.value.message == message


def test_members_of_an_object_and_of_the_objects_of_a_list() -> None:
    paths = ["a", "data.b", "c.d"]
    assert expanded(paths) == {"a", "data", "c"}
    assert expanded(paths, listed=True) == {"a", "b", "c"}
