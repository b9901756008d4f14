import pytest

from meterhouse.ledger import audit, known_settings
from meterhouse.ledger.audit import Actor, Change, Filter, Origin
from meterhouse.ledger.engine import Ledger
from meterhouse.wire.page import PageParams
from tests.ledger.samples import two_scopes

ADA = Origin(Actor("user", "ada", "ada"), 5, "192.0.2.7", "req_1")


def actions(ledger: Ledger, scope: int | None, *, installation: bool = False) -> list[str]:
    with ledger.read() as connection:
        page = audit.list_entries(
            connection, scope, PageParams(), Filter(), installation=installation
        )
    assert page is not None
    return [entry.action for entry in page[0]]


def test_an_entry_is_of_a_scope_or_of_the_installation(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    with ledger.write() as connection:
        audit.note(connection, ADA, "meter.created", test, "mtr_1", {"status": Change("a", "b")})
        audit.note(connection, audit.system(7), "clock.accepted", None, None)
    assert actions(ledger, test) == ["meter.created"]
    assert actions(ledger, test, installation=True) == ["clock.accepted", "meter.created"]
    assert actions(ledger, live) == []
    assert actions(ledger, None) == ["clock.accepted", "meter.created"]


def test_what_is_in_no_row_of_the_table_cannot_be_noted(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match=r"'meter.eaten' is no row"), ledger.write() as connection:
        audit.note(connection, ADA, "meter.eaten", None, None)


def test_entries_leave_by_their_age_the_oldest_first(ledger: Ledger) -> None:
    with ledger.write() as connection:
        for at in (30, 10, 20):
            audit.note(connection, audit.system(at), "clock.accepted", None, str(at))
        assert audit.expire(connection, 30, 1) == 1
        assert audit.expire(connection, 30, 5) == 1
        assert audit.expire(connection, 30, 5) == 0
    with ledger.read() as connection:
        page = audit.list_entries(connection, None, PageParams(), Filter())
    assert page is not None
    assert [entry.object_id for entry in page[0]] == ["30"]


def test_which_settings_are_others_than_before(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert known_settings.use(connection, {"port": "1", "host": "a"}) == {}
        assert known_settings.use(connection, {"port": "1", "host": "a"}) == {}
        assert known_settings.use(connection, {"port": "2", "values": "x"}) == {"port": ("1", "2")}
